"""Copies of cases' images: which are wanted, and what came of making them."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, func, select, text, update

from moderation.store.review_tables import cases
from moderation.types import ImageRef


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """A case whose image is to be copied; `attempts` counts this try as well."""

    case_id: UUID
    submission_id: UUID
    image: ImageRef
    attempts: int


# URLs first, since they expire, and the newest of them; what failed before comes last. Looked for
# among the newest only, so that a long backlog costs nothing, and tested again once it is locked:
# somebody else may have taken it in between.
_TAKE = text(
    """
    UPDATE cases SET copy_after = now() + :lease, copy_attempts = copy_attempts + 1
    FROM submissions
    WHERE submissions.id = cases.submission_id AND cases.id = (
        SELECT cases.id FROM cases JOIN submissions ON submissions.id = cases.submission_id
        WHERE copy_blob IS NULL AND copy_problem IS NULL
            AND coalesce(copy_after, '-infinity') <= now()
            AND cases.id = ANY(ARRAY(
                SELECT id FROM cases
                WHERE copy_blob IS NULL AND copy_problem IS NULL
                    AND coalesce(copy_after, '-infinity') <= now()
                ORDER BY created_at DESC LIMIT 500
            ))
        ORDER BY copy_attempts, image_url IS NULL, cases.created_at DESC
        LIMIT 1 FOR UPDATE OF cases SKIP LOCKED
    )
    RETURNING cases.id, submission_id, image_blob, image_url, copy_attempts
    """
)

# A URL may show something else tomorrow, or to somebody else: only one's own copy is of it.
_KNOWN = text(
    """
    SELECT copy_blob FROM cases WHERE submission_id = :submission AND copy_blob IS NOT NULL
    UNION ALL
    SELECT copy_blob FROM cases JOIN submissions ON submissions.id = cases.submission_id
    WHERE hashtextextended(coalesce(image_blob, image_url), 0)
            = hashtextextended(CAST(:blob AS text), 0)
        AND image_blob = :blob
        AND copy_blob IS NOT NULL
    LIMIT 1
    """
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


def take(connection: Connection, *, lease: timedelta) -> WantedCopy | None:
    """The next case that wants a copy; nobody else gets it before the lease is over."""
    row = connection.execute(_TAKE, {"lease": lease}).one_or_none()
    if row is None:
        return None
    image = ImageRef(blob=row.image_blob, url=row.image_url)
    return WantedCopy(row.id, row.submission_id, image, row.copy_attempts)


def known(connection: Connection, wanted: WantedCopy) -> str | None:
    """The copy that another case of the same submission or the same blob has."""
    parameters = {"submission": wanted.submission_id, "blob": wanted.image.blob}
    return connection.execute(_KNOWN, parameters).scalar_one_or_none()


def made(connection: Connection, case_id: UUID, copy_blob: str) -> None:
    """Note the copy of a case's image."""
    connection.execute(
        update(cases).where(cases.c.id == case_id).values(copy_blob=copy_blob, copy_after=None)
    )


def give_up(connection: Connection, case_id: UUID, problem: str) -> None:
    """Note why there will be no copy, in words for a moderator."""
    connection.execute(
        update(cases).where(cases.c.id == case_id).values(copy_problem=problem, copy_after=None)
    )


def put_off(connection: Connection, case_id: UUID, *, wait: timedelta) -> None:
    """Try again later."""
    connection.execute(
        update(cases).where(cases.c.id == case_id).values(copy_after=func.now() + wait)
    )
