"""What tests of the desk need: people who are signed in, and cases with real images."""

import dataclasses
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import httpx
from PIL import Image
from sqlalchemy import func, insert, text
from uuid_utils.compat import uuid7

from moderation.review.auth import COOKIE
from moderation.review.claiming import Reviewer
from moderation.review.desk import Desk
from moderation.store import sessions, users
from moderation.store.audit import Actor
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.review_tables import cases
from moderation.store.sessions import Kind
from moderation.store.tables import submissions, verdicts
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api


def add_user(services: Services, name: str, role: Role = Role.MODERATOR) -> None:
    """Make an account without a password, unless it is there."""
    with services.database.begin() as connection:
        users.add(connection, name, role, password_hash=None)


def reviewer(services: Services, name: str, role: Role = Role.MODERATOR) -> Reviewer:
    """Somebody at the desk; their account is made unless it is there."""
    add_user(services, name, role)
    with services.database.connect() as connection:
        user = users.find(connection, name)
    assert user is not None
    return Reviewer(user, Actor(name))


def desk_with(services: Services, **settings: object) -> Desk:
    """The desk with other settings; golden cases come only where they are asked for."""
    changed = services.settings.model_copy(update={"review_golden_share": 0.0, **settings})
    return Desk(dataclasses.replace(services, settings=changed))


def rows_of(services: Services, sql: str, **given: object) -> list[tuple[object, ...]]:
    """Rows of a query."""
    with services.database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql), given)]


@contextmanager
def signed_in(
    api: Api, name: str, role: Role = Role.MODERATOR, *, kind: Kind = Kind.BROWSER
) -> Iterator[httpx.Client]:
    """A client of somebody who has signed in: with cookie and CSRF header, or with a token."""
    add_user(api.services, name, role)
    with api.services.database.begin() as connection:
        opened = sessions.open_session(connection, name, kind=kind, lasts=timedelta(hours=1))
    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as client:
        if kind is Kind.TOKEN:
            client.headers["Authorization"] = f"Bearer {opened.token}"
        else:
            client.cookies.set(COOKIE, opened.token)
            client.headers["X-CSRF-Token"] = opened.csrf
        yield client


def a_picture(colour: str = "red", *, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def add_case(
    services: Services,
    *,
    route: Route = Route.FLAGGED,
    caption: str = "a red ball",
    score: float | None = 0.1,
    policy: str = "default",
    platform: str = "acme",
    image: bytes | None = None,
    **options: object,
) -> UUID:
    """A judged submission with a case, as the pipeline leaves it; the case's id.

    `options` are those of `NewCase`; the case's copy of the image is the image itself.
    """
    id_ = uuid7()
    blob = services.blobs.put(image or a_picture())
    outcome = {Route.FLAGGED: "flag", Route.UNSCORABLE: "unscorable"}.get(route, "pass")
    with services.database.begin() as connection:
        connection.execute(
            insert(submissions).values(
                id=id_, platform=platform, external_id=f"post-{id_}", policy=policy,
                caption=caption, image_blob=blob, message_id="m", done_at=func.now(),
            )
        )  # fmt: skip
        connection.execute(
            insert(verdicts).values(
                submission_id=id_, outcome=outcome, threshold=0.35, calibration_version="c-1",
                model="m", cosine=None if score is None else 0.2, score=score,
                reason="image_corrupt" if outcome == "unscorable" else None,
            )
        )  # fmt: skip
        (case_id,) = add_cases(
            connection,
            [NewCase(id_, route, copy_blob=blob, **options)],  # type: ignore[arg-type]
        )
    return case_id


def state_of(services: Services, case_id: UUID) -> dict[str, object]:
    """The case's row."""
    with services.database.connect() as connection:
        row = connection.execute(cases.select().where(cases.c.id == case_id)).mappings().one()
    return dict(row)
