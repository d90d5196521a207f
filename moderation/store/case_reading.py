"""All that is stored of a case and its submission, as the desk shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Select, func, select

from moderation.store.cases import Level, Route, State, is_blind
from moderation.store.decisions import Answer
from moderation.store.review_tables import appeals, cases
from moderation.store.review_tables import standing_decisions as decisions
from moderation.store.tables import submissions, verdicts


@dataclass(frozen=True, slots=True)
class Appealed:
    """What the author of a post says."""

    statement: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCase:
    """A case with its submission and, where there is one, the submission's verdict."""

    id: UUID
    submission_id: UUID
    external_id: str | None
    platform: str
    policy: str
    caption: str
    submitted_at: datetime
    due_at: datetime
    state: State
    level: Level
    route: Route
    blind: bool
    resolution: Answer | None
    resolved_for: timedelta | None
    has_copy: bool
    copy_problem: str | None
    outcome: str | None
    reason: str | None
    detail: str | None
    score: float | None
    threshold: float | None
    notes_of_verdict: tuple[str, ...]
    appeal: Appealed | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A decision on a submission, on this case or on another."""

    case_id: UUID
    answer: Answer
    reason: str | None
    note: str | None
    decided_by: str
    created_at: datetime


def read_cases(connection: Connection, case_ids: Sequence[UUID]) -> dict[UUID, StoredCase]:
    """Those of the cases that exist, by id."""
    rows = connection.execute(_CASE.where(cases.c.id.in_(case_ids))).mappings()
    return {row["id"]: _stored(row) for row in rows}


def earlier(connection: Connection, submission_id: UUID, case_id: UUID) -> list[Earlier]:
    """The decisions on a case and on its submission's others that stand, oldest first.

    Without golden ones, nor what was said of another that still waits to be decided blind: who
    reads it may be asked next.
    """
    is_blind_yet = (cases.c.state != State.RESOLVED.value) & (
        cases.c.blind | (cases.c.route == Route.AUDIT.value)
    )
    rows = connection.execute(
        select(
            decisions.c.case_id,
            decisions.c.answer,
            decisions.c.reason,
            decisions.c.note,
            decisions.c.decided_by,
            decisions.c.created_at,
        )
        .join(cases, cases.c.id == decisions.c.case_id)
        .where(
            cases.c.submission_id == submission_id,
            cases.c.route != Route.GOLDEN.value,
            (cases.c.id == case_id) | ~is_blind_yet,
        )
        .order_by(decisions.c.created_at, decisions.c.id)
    )
    return [Earlier(row[0], Answer(row[1]), *row[2:]) for row in rows]


_CASE: Select[Any] = (
    select(
        cases,
        (func.now() - cases.c.resolved_at).label("resolved_for"),
        submissions.c.external_id,
        submissions.c.platform,
        submissions.c.caption,
        submissions.c.created_at.label("submitted_at"),
        verdicts.c.outcome,
        verdicts.c.reason,
        verdicts.c.detail,
        verdicts.c.score,
        verdicts.c.threshold,
        verdicts.c.notes,
        appeals.c.statement,
        appeals.c.created_at.label("appealed_at"),
    )
    .join(submissions, submissions.c.id == cases.c.submission_id)
    .outerjoin(verdicts, verdicts.c.submission_id == cases.c.submission_id)
    .outerjoin(appeals, appeals.c.case_id == cases.c.id)
)


def _stored(row: RowMapping) -> StoredCase:
    appeal = None
    if row["statement"] is not None:
        appeal = Appealed(row["statement"], row["appealed_at"])
    return StoredCase(
        id=row["id"],
        submission_id=row["submission_id"],
        external_id=row["external_id"],
        platform=row["platform"],
        policy=row["policy"],
        caption=row["caption"],
        submitted_at=row["submitted_at"],
        due_at=row["due_at"],
        state=State(row["state"]),
        level=Level(row["level"]),
        route=Route(row["route"]),
        blind=is_blind(Route(row["route"]), row["blind"]),
        resolution=Answer(row["resolution"]) if row["resolution"] else None,
        resolved_for=row["resolved_for"],
        has_copy=row["copy_blob"] is not None,
        copy_problem=row["copy_problem"],
        outcome=row["outcome"],
        reason=row["reason"],
        detail=row["detail"],
        score=row["score"],
        threshold=row["threshold"],
        notes_of_verdict=tuple(row["notes"] or ()),
        appeal=appeal,
    )
