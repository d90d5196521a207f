"""Golden submissions: their right answer is known, and shows how well people decide.

Nobody is to tell a golden case from any other blind one, and nothing follows from its decisions:
they are no labels, and no platform hears of them.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from moderation.store.audit import Actor, record
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.decisions import Answer
from moderation.store.review_tables import golden_answers, users


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden submission: `people` had it so far, and `right` of them gave the right answer."""

    submission_id: UUID
    policy: str
    caption: str
    answer: Answer
    why: str
    added_by: str
    created_at: datetime
    retired_at: datetime | None
    people: int
    right: int


class NotGolden(Exception):
    """A submission that cannot be golden; the message says why, `is_there` whether it exists."""

    def __init__(self, message: str, *, is_there: bool = True) -> None:
        super().__init__(message)
        self.is_there = is_there


# Who has ever had a case of the submission may know its answer, and so does who added it.
_NEW_TO = text(
    """
    SELECT golden_answers.submission_id, copies.copy_blob
    FROM golden_answers
    CROSS JOIN LATERAL (
        SELECT cases.copy_blob FROM cases
        WHERE cases.submission_id = golden_answers.submission_id AND cases.copy_blob IS NOT NULL
        ORDER BY cases.created_at, cases.id LIMIT 1
    ) AS copies
    JOIN submissions ON submissions.id = golden_answers.submission_id
    WHERE golden_answers.retired_at IS NULL AND golden_answers.added_by <> :user_name
        AND (CAST(:policy AS text) IS NULL OR submissions.policy = :policy)
        AND NOT EXISTS (
            SELECT FROM cases
            WHERE cases.submission_id = golden_answers.submission_id AND (
                cases.assigned_to = :user_name
                OR EXISTS (
                    SELECT FROM claims
                    WHERE claims.case_id = cases.id AND claims.user_name = :user_name
                )
                OR EXISTS (
                    SELECT FROM decisions
                    WHERE decisions.case_id = cases.id AND decisions.decided_by = :user_name
                )
            )
        )
    ORDER BY golden_answers.submission_id
    """
)


def draw(
    connection: Connection, user_name: str, share: float, u: float, policy: str | None = None
) -> UUID | None:
    """Open a golden case for somebody in a `share` of draws; its id, None in the others.

    `u` is uniform in [0, 1): below `share` it also says which of the golden submissions that are
    new to this person it is, and of their `policy` if they keep to one. None as well where none is
    left. The case is blind and assigned to them.
    """
    if u >= share:
        return None
    # Two tabs of one person draw one after the other, or both would get the same one.
    connection.execute(
        select(users.c.name).where(users.c.name == user_name).with_for_update(key_share=True)
    )
    left = connection.execute(_NEW_TO, {"user_name": user_name, "policy": policy}).all()
    if not left:
        return None
    chosen = left[min(int(u / share * len(left)), len(left) - 1)]
    (case_id,) = add_cases(
        connection,
        [
            NewCase(
                chosen.submission_id,
                Route.GOLDEN,
                blind=True,
                assigned_to=user_name,
                copy_blob=chosen.copy_blob,
            )
        ],
    )
    return case_id


def add(
    connection: Connection, submission_id: UUID, answer: Answer, why: str, *, actor: Actor
) -> None:
    """Make a submission golden; one that was retired gets its new answer and is mixed in again.

    Raises `NotGolden` for one that people cannot be asked about.
    """
    found = connection.execute(_CANDIDATE, {"submission_id": submission_id}).one_or_none()
    if found is None:
        raise NotGolden("there is no such submission", is_there=False)
    if not found.has_copy:
        raise NotGolden("no case of this submission has a copy of its image to show")
    if not found.caption.strip():
        raise NotGolden("this submission has no caption to compare with its image")
    if found.waits:
        raise NotGolden("a case of this submission still waits; decide it first")
    values = {"answer": answer.value, "why": why, "added_by": actor.name}
    made = connection.execute(
        insert(golden_answers)
        .values(submission_id=submission_id, **values)
        .on_conflict_do_update(
            index_elements=["submission_id"],
            set_={**values, "created_at": func.now(), "retired_at": None},
            where=golden_answers.c.retired_at.is_not(None),
        )
        .returning(golden_answers.c.submission_id)
    )
    if made.one_or_none() is None:
        raise NotGolden("this submission is golden already; retire it to change its answer")
    subject = f"submission:{submission_id}"
    record(connection, actor, "golden.added", subject, answer=answer.value)


def retire(connection: Connection, submission_id: UUID, *, actor: Actor) -> bool:
    """Mix a submission in no longer, and count no answers to it; False if it is not golden."""
    retired = connection.execute(
        update(golden_answers)
        .where(
            golden_answers.c.submission_id == submission_id, golden_answers.c.retired_at.is_(None)
        )
        .values(retired_at=func.now())
    )
    if retired.rowcount == 0:
        return False
    connection.execute(_CLOSE, {"submission_id": submission_id})
    record(connection, actor, "golden.retired", f"submission:{submission_id}")
    return True


def list_all(connection: Connection) -> list[Golden]:
    """All golden submissions, those in use first, then the newest first."""
    return [_golden(row) for row in connection.execute(_ALL).mappings()]


_CANDIDATE = text(
    """
    SELECT submissions.caption,
        EXISTS (
            SELECT FROM cases
            WHERE cases.submission_id = submissions.id AND cases.copy_blob IS NOT NULL
        ) AS has_copy,
        EXISTS (
            SELECT FROM cases
            WHERE cases.submission_id = submissions.id AND cases.state <> 'resolved'
                AND cases.route <> 'golden'
        ) AS waits
    FROM submissions WHERE submissions.id = :submission_id
    """
)

# Whoever has the case before them decides it; it counts for nothing.
_CLOSE = text(
    """
    UPDATE cases SET state = 'resolved', resolved_at = now()
    WHERE submission_id = :submission_id AND route = 'golden' AND state <> 'resolved'
        AND NOT EXISTS (
            SELECT FROM claims WHERE claims.case_id = cases.id AND claims.ended_at IS NULL
        )
    """
)

_ALL = text(
    """
    SELECT golden_answers.*, submissions.policy, submissions.caption,
        coalesce(had.people, 0) AS people, coalesce(had.right, 0) AS right
    FROM golden_answers JOIN submissions ON submissions.id = golden_answers.submission_id
    LEFT JOIN (
        SELECT cases.submission_id, count(DISTINCT decisions.decided_by) AS people,
            count(DISTINCT decisions.decided_by)
                FILTER (WHERE decisions.answer = known.answer) AS right
        FROM cases
        JOIN golden_answers AS known ON known.submission_id = cases.submission_id
        JOIN standing_decisions AS decisions ON decisions.case_id = cases.id
        WHERE cases.route = 'golden' AND decisions.decided_by <> known.added_by
        GROUP BY cases.submission_id
    ) AS had ON had.submission_id = golden_answers.submission_id
    ORDER BY golden_answers.retired_at IS NOT NULL, golden_answers.created_at DESC
    """
)


def _golden(row: RowMapping) -> Golden:
    return Golden(
        submission_id=row["submission_id"],
        policy=row["policy"],
        caption=row["caption"],
        answer=Answer(row["answer"]),
        why=row["why"],
        added_by=row["added_by"],
        created_at=row["created_at"],
        retired_at=row["retired_at"],
        people=row["people"],
        right=row["right"],
    )
