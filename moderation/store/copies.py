"""Copies of cases' images: which are wanted, and what came of making them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, select

from moderation.store.direct import Statement, ask
from moderation.store.review_tables import cases
from moderation.types import ImageRef


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """A case whose image is to be copied; `attempts` counts this try as well.

    `known` is the copy that another case of the same submission or the same blob has.
    """

    case_id: UUID
    submission_id: UUID
    image: ImageRef
    attempts: int
    known: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a wanted copy: its `blob`, a `problem` in words for a moderator, or neither.

    Then it is wanted again after `wait`, and this try does not count if it was `untried`.
    """

    wanted: WantedCopy
    blob: str | None = None
    problem: str | None = None
    wait: timedelta | None = None
    untried: bool = False


# URLs first, since they expire, and the newest of them; what failed before comes last, and alone,
# since it may be what ends workers. Looked for among the newest only, so that a long backlog costs
# nothing, and tested again once it is locked: somebody else may have taken it in between.
# A URL may show something else tomorrow, or to somebody else: only one's own copy is of it.
_TAKE = Statement(
    "take_copies",
    """
    WITH locked AS (
        SELECT cases.id, image_blob, image_url, copy_attempts, cases.created_at
        FROM cases JOIN submissions ON submissions.id = cases.submission_id
        WHERE copy_blob IS NULL AND copy_problem IS NULL
            AND coalesce(copy_after, '-infinity') <= now()
            AND cases.id = ANY(ARRAY(
                SELECT id FROM cases
                WHERE copy_blob IS NULL AND copy_problem IS NULL
                    AND coalesce(copy_after, '-infinity') <= now()
                ORDER BY created_at DESC LIMIT 500
            ))
        ORDER BY copy_attempts, image_url IS NULL, cases.created_at DESC
        LIMIT CAST($1::json ->> 'limit' AS bigint) FOR UPDATE OF cases SKIP LOCKED
    ), next AS (
        SELECT id, image_blob, image_url, row_number() OVER (
            ORDER BY copy_attempts, image_url IS NULL, created_at DESC
        ) AS place
        FROM locked
    ), taken AS (
        UPDATE cases SET
            copy_after = now() + CAST($1::json ->> 'lease_s' AS double precision) * interval '1 s',
            copy_attempts = cases.copy_attempts + 1
        FROM next WHERE cases.id = next.id AND (cases.copy_attempts = 0 OR place = 1)
        RETURNING cases.id, submission_id, image_blob, image_url, cases.copy_attempts, place
    )
    SELECT json_agg(json_build_array(
        id, submission_id, image_blob, image_url, copy_attempts,
        coalesce(
            (
                SELECT copy_blob FROM cases
                WHERE cases.submission_id = taken.submission_id AND copy_blob IS NOT NULL LIMIT 1
            ),
            (
                SELECT copy_blob
                FROM cases JOIN submissions ON submissions.id = cases.submission_id
                WHERE hashtextextended(coalesce(submissions.image_blob, submissions.image_url), 0)
                        = hashtextextended(taken.image_blob, 0)
                    AND submissions.image_blob = taken.image_blob
                    AND copy_blob IS NOT NULL
                LIMIT 1
            )
        )
    ) ORDER BY place)
    FROM taken
    """,
)

# Locked in one order for all writers, so that two cannot deadlock. The first copy holds, and who
# has lost a lease to somebody else changes nothing but that.
_SETTLE = Statement(
    "settle_copies",
    """
    WITH given AS (
        SELECT * FROM json_to_recordset($1::json) AS given (
            id uuid, attempts integer, blob text, problem text, wait_s double precision,
            untried boolean
        )
    ), locked AS (
        SELECT id FROM cases WHERE id = ANY(ARRAY(SELECT id FROM given))
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE cases SET
        copy_blob = blob, copy_problem = problem, copy_after = now() + wait_s * interval '1 s',
        copy_attempts = copy_attempts - CAST(untried AS integer)
    FROM given JOIN locked USING (id)
    WHERE cases.id = given.id AND copy_blob IS NULL
        AND (blob IS NOT NULL OR copy_attempts = attempts)
    """,
)


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy of a case's image, or why there is none; neither while it is still wanted."""

    blob: str | None
    problem: str | None


def find(connection: Connection, case_id: UUID) -> Copy | None:
    """What is known of a case's copy; None if there is no such case."""
    row = connection.execute(
        select(cases.c.copy_blob, cases.c.copy_problem).where(cases.c.id == case_id)
    ).one_or_none()
    return None if row is None else Copy(row.copy_blob, row.copy_problem)


def take(connection: Connection, *, limit: int, lease: timedelta) -> list[WantedCopy]:
    """The next cases that want a copy; nobody else gets them before the lease is over.

    One that was tried before comes alone.
    """
    taken = ask(connection, _TAKE, {"limit": limit, "lease_s": lease.total_seconds()})
    return [
        WantedCopy(UUID(id_), UUID(submission_id), ImageRef(blob=blob, url=url), attempts, known)
        for id_, submission_id, blob, url, attempts, known in taken or ()
    ]


def settle(connection: Connection, settled: Sequence[Settled]) -> None:
    """Note what came of copies, in one statement; of each case at most one."""
    ask(
        connection,
        _SETTLE,
        [
            {
                "id": each.wanted.case_id,
                "attempts": each.wanted.attempts,
                "blob": each.blob,
                "problem": each.problem,
                "wait_s": each.wait.total_seconds() if each.wait else None,
                "untried": each.untried,
            }
            for each in settled
        ],
    )
