"""Review cases: submissions that a moderator is to look at, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from moderation.store.review_tables import cases
from moderation.store.tables import submissions


class Route(StrEnum):
    """Why a moderator is to look at a submission."""

    FLAGGED = "flagged"
    UNSCORABLE = "unscorable"
    AUDIT = "audit"
    GOLDEN = "golden"
    APPEAL = "appeal"


class State(StrEnum):
    """Where a case stands."""

    OPEN = "open"
    HELD = "held"
    RESOLVED = "resolved"


class Level(StrEnum):
    """Who may decide a case; leads may also decide what moderators may."""

    MODERATOR = "moderator"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class NewCase:
    """A submission for review, and the probability with which one like it becomes a case.

    Of two cases that wait, the one that is due earlier comes first. A blind case shows neither
    score nor route nor earlier answers. Its copy of the image is made later, if it is not given
    here, nor why there can be none; `copy_attempts` tries have failed already.
    """

    submission_id: UUID
    route: Route
    inclusion_probability: float = 1.0
    due_in: timedelta = field(default=timedelta(0))
    blind: bool = False
    answers_wanted: int = 1
    level: Level = Level.MODERATOR
    assigned_to: str | None = None
    copy_blob: str | None = None
    copy_problem: str | None = None
    copy_attempts: int = 0


def is_blind(route: Route, blind: bool) -> bool:
    """Whether a case is decided blind: audits and golden ones always are."""
    return blind or route in (Route.AUDIT, Route.GOLDEN)


def new_id(*, blind: bool) -> UUID:
    """The id of a new case: a UUIDv7, random for blind ones.

    The time in it would tell golden cases, opened when somebody comes for one, from those that
    have waited.
    """
    return uuid4() if blind else uuid7()


def add_cases(connection: Connection, items: Sequence[NewCase]) -> list[UUID]:
    """Open cases; their ids, in order."""
    ids = [new_id(blind=is_blind(item.route, item.blind)) for item in items]
    for id_, item in zip(ids, items, strict=True):
        connection.execute(
            insert(cases).values(
                id=id_,
                submission_id=item.submission_id,
                policy=select(submissions.c.policy)
                .where(submissions.c.id == item.submission_id)
                .scalar_subquery(),
                route=item.route.value,
                inclusion_probability=item.inclusion_probability,
                due_at=func.now() + item.due_in,
                blind=is_blind(item.route, item.blind),
                answers_wanted=item.answers_wanted,
                level=item.level.value,
                assigned_to=item.assigned_to,
                copy_blob=item.copy_blob,
                copy_problem=item.copy_problem,
                copy_attempts=item.copy_attempts,
            )
        )
    return ids
