"""Appeals: a platform asks, for the author of a post, that somebody else looks at it again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, text
from uuid_utils.compat import uuid7

from moderation.store import case_states, claims, decisions
from moderation.store.audit import Actor, record
from moderation.store.cases import Level, NewCase, Route, State, add_cases
from moderation.store.decisions import Answer
from moderation.store.review_tables import appeals, cases
from moderation.store.tables import submissions
from moderation.types import Outcome

# After so many that people have looked at, another look is not going to say anything new.
MAX_APPEALS = 3


class Said(StrEnum):
    """What became of an appeal."""

    UPHELD = "upheld"
    OVERTURNED = "overturned"


@dataclass(frozen=True, slots=True)
class Appeal:
    """An appeal as a platform may know it; without `resolved_at` nobody has decided it yet.

    What a case has been settled with counts once it cannot be undone any more.
    """

    id: UUID
    submission_id: UUID
    case_id: UUID
    statement: str
    created_at: datetime
    resolved_at: datetime | None
    answer: Answer | None

    @property
    def said(self) -> Said | None:
        """Overturned when somebody now calls it a match: only what stands against it is appealed.

        `unsure` leaves standing what stood.
        """
        if self.answer is None:
            return None
        return Said.OVERTURNED if self.answer is Answer.MATCH else Said.UPHELD


class NoSuchSubmission(Exception):
    """The platform has no such submission."""


class NothingToAppeal(Exception):
    """The appeal is not taken; the message tells the platform why."""


def receive(
    connection: Connection,
    submission_id: UUID,
    statement: str,
    *,
    platform: str,
    due_in: timedelta,
    undo: timedelta,
    actor: Actor,
) -> tuple[Appeal, bool]:
    """Open a case for an appeal, or find the one that is open; and whether it is a new one.

    Decisions count once `undo` is over. Raises `NoSuchSubmission` and `NothingToAppeal`.
    """
    # Locked, so that of two that come at once the second finds the first.
    owned = select(submissions.c.id).where(
        submissions.c.id == submission_id, submissions.c.platform == platform
    )
    if connection.execute(owned.with_for_update(key_share=True)).one_or_none() is None:
        raise NoSuchSubmission
    known = of_submission(connection, submission_id, platform=platform, undo=undo)
    if known and known[-1].resolved_at is None:
        return known[-1], False
    if len(known) >= MAX_APPEALS:
        raise NothingToAppeal(
            f"this submission was appealed {MAX_APPEALS} times and people decided each time; "
            "the last decision is final"
        )
    standing = connection.execute(_STANDING, {"submission_id": submission_id, "undo": undo}).one()
    _check_is_against_it(standing.outcome, standing.answer)
    level = Level.LEAD if standing.was_a_lead else Level.MODERATOR
    case = NewCase(
        submission_id, Route.APPEAL, due_in=due_in, level=level, copy_blob=standing.copy_blob
    )
    replaced = _close_what_waits(connection, submission_id)
    appeal_id = _open(connection, case, statement)
    record(
        connection,
        actor,
        "appeal.received",
        f"submission:{submission_id}",
        appeal=str(appeal_id),
        level=level.value,
        replaced=[str(id_) for id_ in replaced],
    )
    return of_submission(connection, submission_id, platform=platform, undo=undo)[-1], True


def of_submission(
    connection: Connection, submission_id: UUID, *, platform: str, undo: timedelta
) -> list[Appeal]:
    """The appeals of a platform's submission, the oldest first."""
    query = (
        _query(undo)
        .join(submissions, submissions.c.id == appeals.c.submission_id)
        .where(appeals.c.submission_id == submission_id, submissions.c.platform == platform)
        .order_by(appeals.c.created_at, appeals.c.id)
    )
    return [_appeal(row) for row in connection.execute(query).mappings()]


def _close_what_waits(connection: Connection, submission_id: UUID) -> list[UUID]:
    """Close the submission's flags that nobody has begun with: the appeal's answer settles them.

    Left open, a later answer would stand over what was said with the author's words at hand.
    """
    waiting = select(cases.c.id).where(
        cases.c.submission_id == submission_id,
        cases.c.route.in_((Route.FLAGGED, Route.UNSCORABLE)),
        cases.c.state == State.OPEN.value,
    )
    locked = case_states.lock(connection, list(connection.execute(waiting).scalars()))
    ids = [case.id for case in locked if case.state is State.OPEN]
    claims.expire(connection, ids)
    begun = claims.open_ones(connection, ids).keys() | {
        id_ for id_, given in decisions.standing(connection, ids).items() if given
    }
    free = [id_ for id_ in ids if id_ not in begun]
    for id_ in free:
        case_states.close(connection, id_)
    return free


def _open(connection: Connection, case: NewCase, statement: str) -> UUID:
    (case_id,) = add_cases(connection, [case])
    appeal_id = uuid7()
    connection.execute(
        insert(appeals).values(
            id=appeal_id, submission_id=case.submission_id, case_id=case_id, statement=statement
        )
    )
    return appeal_id


def _check_is_against_it(outcome: str | None, answer: str | None) -> None:
    if outcome is None:
        raise NothingToAppeal("there is no verdict on this submission yet; wait for it")
    if answer == Answer.MATCH:
        raise NothingToAppeal(
            "nothing stands against this submission: a moderator called it a match"
        )
    if outcome == Outcome.PASS and answer != Answer.MISMATCH:
        raise NothingToAppeal(
            "nothing stands against this submission: it passed, and no moderator called it a "
            "mismatch"
        )


# What was last said counts, unless it was only `unsure`, which leaves the verdict standing. Golden
# cases say nothing of their submission.
_STANDING = text(
    """
    SELECT verdicts.outcome,
        (
            SELECT cases.resolution FROM cases
            WHERE cases.submission_id = submissions.id AND cases.route <> 'golden'
                AND cases.resolution IN ('match', 'mismatch')
                AND cases.resolved_at <= now() - CAST(:undo AS interval)
            ORDER BY cases.resolved_at DESC, cases.id DESC LIMIT 1
        ) AS answer,
        coalesce((
            SELECT users.role <> 'moderator' FROM cases
            JOIN standing_decisions AS decisions ON decisions.case_id = cases.id
            JOIN users ON users.name = decisions.decided_by
            WHERE cases.submission_id = submissions.id AND cases.route <> 'golden'
            ORDER BY decisions.created_at DESC, decisions.id DESC LIMIT 1
        ), false) AS was_a_lead,
        (
            SELECT cases.copy_blob FROM cases
            WHERE cases.submission_id = submissions.id AND cases.copy_blob IS NOT NULL
            ORDER BY cases.created_at, cases.id LIMIT 1
        ) AS copy_blob
    FROM submissions LEFT JOIN verdicts ON verdicts.submission_id = submissions.id
    WHERE submissions.id = :submission_id
    """
)


def _query(undo: timedelta) -> Select[Any]:
    is_settled = (cases.c.state == State.RESOLVED.value) & (
        cases.c.resolved_at <= func.now() - undo
    )
    return select(
        appeals, cases.c.resolution, cases.c.resolved_at, is_settled.label("is_settled")
    ).join(cases, cases.c.id == appeals.c.case_id)


def _appeal(row: RowMapping) -> Appeal:
    is_answered = row["is_settled"] and row["resolution"] is not None
    return Appeal(
        id=row["id"],
        submission_id=row["submission_id"],
        case_id=row["case_id"],
        statement=row["statement"],
        created_at=row["created_at"],
        resolved_at=row["resolved_at"] if row["is_settled"] else None,
        answer=Answer(row["resolution"]) if is_answered else None,
    )
