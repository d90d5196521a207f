"""What tests of the case page do again and again."""

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

from playwright.sync_api import Page
from sqlalchemy import insert, select, text

from moderation.demo.posts import encode, sample_pair
from moderation.store.review_tables import claims, policy_reasons
from moderation.wiring import Services
from tests.browser.conftest import Seat
from tests.integration.desk import add_case

Seated = Callable[..., Seat]


def add_queue(services: Services, count: int, **options: Any) -> list[UUID]:
    """Cases with drawn scenes and their captions."""
    rng = Random(5)  # noqa: S311 - scenes, not secrets
    made = []
    for number in range(count):
        pair = sample_pair(rng, None, held_out=False)
        caption = f"{number}: {pair.caption}"
        made.append(add_case(services, caption=caption, image=encode(pair.scene, 512), **options))
    return made


def case_of(page: Page) -> UUID:
    """The case that is shown."""
    shown = page.locator("article.case").get_attribute("data-case")
    assert shown is not None
    return UUID(shown)


def press(page: Page, key: str) -> None:
    """Press a key when a person could have: not before the case was there to be seen."""
    page.wait_for_timeout(230)
    page.keyboard.press(key)


def answers(services: Services) -> dict[UUID, list[str]]:
    """What was decided of each case and stands, in order."""
    found: dict[UUID, list[str]] = {}
    with services.database.connect() as connection:
        rows = connection.execute(
            text("SELECT case_id, answer FROM standing_decisions ORDER BY created_at, id")
        )
        for case_id, answer in rows:
            found.setdefault(case_id, []).append(answer)
    return found


def claimed(services: Services) -> dict[UUID, str]:
    """Who has which case."""
    with services.database.connect() as connection:
        rows = connection.execute(
            select(claims.c.case_id, claims.c.user_name).where(claims.c.ended_at.is_(None))
        )
        return {row.case_id: row.user_name for row in rows}


def allow_any_reason(services: Services) -> None:
    """No answer needs a reason."""
    set_reasons(services, required_for=[])


def set_reasons(services: Services, required_for: list[str]) -> None:
    """The default policy has two reasons, needed for these answers."""
    reasons = [{"key": "wrong", "label": "Wrong subject"}, {"key": "spam", "label": "Spam"}]
    with services.database.begin() as connection:
        connection.execute(
            insert(policy_reasons).values(
                policy="default", reasons=reasons, required_for=required_for
            )
        )
