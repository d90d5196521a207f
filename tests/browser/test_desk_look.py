"""The case page to look at: readable and whole at both widths, in light and dark."""

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, insert, select, update
from uuid_utils.compat import uuid7

from moderation.demo.posts import encode
from moderation.demo.world import sample_scene
from moderation.review.opening import no_copy
from moderation.store.case_notes import add_note
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.decisions import Answer, NewDecision, add_decisions
from moderation.store.review_tables import appeals, cases, policy_reasons
from moderation.store.tables import verdicts
from moderation.store.users import Role
from moderation.types import Reason
from moderation.wiring import Services
from tests.browser.conftest import Seat
from tests.browser.contrast import FAINT
from tests.conftest import Api, eventually
from tests.integration.desk import add_case, add_user, state_of

Seated = Callable[..., Seat]

ARABIC = "رجل يركض مع كلبه على الشاطئ عند الغروب، ويبدو أن البحر هادئ اليوم @acme #صباح_الخير"
LONG = "Every word of it counts, " * 60 + "W" * 400
LONG += "\n\n犬が海辺を走っている 🐕\u200d🦺\n\u202egnp.exe"


REASONS = [
    {"key": "wrong_subject", "label": "Wrong subject"},
    {"key": "out_of_context", "label": "Out of context"},
    {"key": "spam", "label": "Spam"},
    {"key": "unsafe", "label": "Unsafe"},
]
SCHEMES = ("light", "dark")
WIDTHS_PX = (1280, 390)


def _draw() -> bytes:
    return encode(sample_scene(Random(7), held_out=False), 900)  # noqa: S311 - a picture


def _plain(services: Services) -> UUID:
    return add_case(services, caption="two orange cups left of a blue tree", image=_draw())


def _rich(services: Services) -> UUID:
    """An appeal on an Arabic caption: decided before, noted, its image posted elsewhere too."""
    image = _draw()
    add_case(services, caption="a dog on the beach", score=0.7, route=Route.AUDIT, image=image)
    first = add_case(services, caption=ARABIC, score=0.31, policy="news", image=image)
    add_user(services, "berta")
    with services.database.begin() as connection:
        of_first = select(cases.c.submission_id).where(cases.c.id == first)
        submission = connection.execute(of_first).scalar_one()
        connection.execute(
            update(verdicts)
            .where(verdicts.c.submission_id == submission)
            .values(notes=["caption_truncated"])
        )
        copy = select(cases.c.copy_blob).where(cases.c.id == first)
        said = NewDecision(first, Answer.MISMATCH, "berta", reason="wrong_subject")
        add_decisions(connection, [said])
        connection.execute(
            update(cases)
            .where(cases.c.id == first)
            .values(state="resolved", resolution="mismatch", resolved_at=func.now())
        )
        (appeal,) = add_cases(connection, [NewCase(submission, Route.APPEAL, copy_blob="x")])
        connection.execute(
            update(cases).where(cases.c.id == appeal).values(copy_blob=copy.scalar_subquery())
        )
        connection.execute(
            insert(appeals).values(
                id=uuid7(),
                submission_id=submission,
                case_id=appeal,
                statement="It is my own dog. Please look again.",
            )
        )
        add_note(connection, appeal, "berta", "The platform asked about this one.")
        connection.execute(
            insert(policy_reasons).values(policy="news", reasons=REASONS, required_for=["mismatch"])
        )
    return appeal


def _blind(services: Services) -> UUID:
    return add_case(services, route=Route.AUDIT, caption=LONG, score=0.8, image=_draw(), blind=True)


def _unscorable(services: Services) -> UUID:
    made = add_case(services, route=Route.UNSCORABLE, caption="a red ball", score=None)
    with services.database.begin() as connection:
        connection.execute(
            update(cases)
            .where(cases.c.id == made)
            .values(copy_blob=None, copy_problem=no_copy(Reason.IMAGE_CORRUPT))
        )
    return made


def _check(page: Page, path: Path) -> None:
    """Take the picture; nothing is faint, and nothing makes the page wider than the screen."""
    page.screenshot(path=path)
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    assert page.evaluate(FAINT) == []


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_kind_of_case_is_readable(
    api: Api,
    seat: Seated,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    scheme: str,
    width_px: int,
) -> None:
    """Plain, rich, blind and unscorable cases, questions, help and the empty desk."""
    kinds = {"plain": _plain, "rich": _rich, "blind": _blind, "unscorable": _unscorable}
    made = {name: make(api.services) for name, make in kinds.items()}
    height_px = 800 if width_px > 400 else 844
    page = seat(
        "amina",
        Role.LEAD,
        color_scheme=scheme,
        viewport={"width": width_px, "height": height_px},
    ).open("/review/mine")
    _check(page, tmp_path / "mine-empty.png")
    for name, case in made.items():
        page.goto(f"/review/cases/{case}")
        page.keyboard.press("b")
        _check(page, tmp_path / f"{name}-untaken.png")
        page.wait_for_timeout(230)
        page.keyboard.press("t")
        expect(page.locator("#actions")).to_be_visible()
        _check(page, tmp_path / f"{name}-hidden.png")
        page.keyboard.press("b")
        page.wait_for_timeout(230)
        _check(page, tmp_path / f"{name}.png")
        page.screenshot(path=tmp_path / f"{name}-whole.png", full_page=True)
    page.goto(f"/review/cases/{made['rich']}")
    page.wait_for_timeout(230)
    page.keyboard.press("t")
    expect(page.locator("#actions")).to_be_visible()
    page.wait_for_timeout(230)
    page.keyboard.press("x")
    expect(page.locator("#ask")).to_be_visible()
    _check(page, tmp_path / "asked.png")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    _check(page, tmp_path / "help.png")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    _check(page, tmp_path / "done.png")
    page.goto(f"/review/cases/{made['plain']}")
    page.wait_for_timeout(230)
    page.keyboard.press("t")
    expect(page.locator("#actions")).to_be_visible()
    page.wait_for_timeout(230)
    page.locator("#note").fill("I ask the platform.")
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    eventually(lambda: state_of(api.services, made["plain"])["state"] == "held")
    page.goto("/review/mine")
    expect(page.get_by_role("link", name="Take it")).to_be_visible()
    _check(page, tmp_path / "mine.png")
    page.goto("/review?policy=none")
    expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()
    _check(page, tmp_path / "nothing.png")
    with capsys.disabled():
        sys.stdout.write(f"\nscreenshots: {tmp_path}\n")


@pytest.mark.parametrize(("width_px", "beside"), [(1280, True), (900, True), (390, False)])
def test_the_image_is_beside_its_caption_where_there_is_room(
    api: Api, seat: Seated, width_px: int, beside: bool
) -> None:
    """From 900 px on image and caption are side by side, below that the image comes first."""
    _plain(api.services)
    page = seat("amina", viewport={"width": width_px, "height": 800}).open()
    expect(page.locator("#caption")).to_be_visible()
    picture, caption = (page.locator(each).bounding_box() for each in ("#picture", "#caption"))
    assert picture is not None
    assert caption is not None
    if beside:
        assert caption["x"] >= picture["x"] + picture["width"]
        assert caption["y"] < picture["y"] + picture["height"]
    else:
        assert caption["y"] >= picture["y"] + picture["height"]


def test_long_captions_scroll_and_hide_nothing(api: Api, seat: Seated) -> None:
    """A caption of thousands of characters scrolls by keyboard in its own box."""
    _blind(api.services)
    page = seat("amina").open()
    caption = page.locator("#caption")
    expect(caption).to_be_visible()
    assert caption.evaluate("each => each.scrollHeight > each.clientHeight")
    assert caption.evaluate("each => each.scrollWidth <= each.clientWidth")
    expect(page.get_by_role("button", name="Mismatch")).to_be_in_viewport()
    caption.focus()
    page.keyboard.press("End")
    eventually(lambda: caption.evaluate("each => each.scrollTop") > 0)


def test_what_is_chosen_and_where_one_is_shows_in_the_systems_colours(
    api: Api, seat: Seated
) -> None:
    """With forced colours a chosen reason and the page that is open differ from the others."""
    case = _rich(api.services)
    page = seat("amina", Role.LEAD, forced_colors="active").open(f"/review/cases/{case}")
    page.wait_for_timeout(230)
    page.keyboard.press("t")
    expect(page.locator("#actions")).to_be_visible()
    page.get_by_role("radio").first.check()
    background = "each => getComputedStyle(each).backgroundColor"
    chosen, other = (page.locator(".choice").nth(n).evaluate(background) for n in (0, 1))
    assert chosen != other
    page.goto("/review/mine")
    line = "each => getComputedStyle(each).borderBottomColor"
    here, elsewhere = (
        page.get_by_role("link", name=name, exact=True).evaluate(line) for name in ("Mine", "Grid")
    )
    assert here != elsewhere
