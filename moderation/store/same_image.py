"""Other submissions with the same image: by its file, its URL, or an equal copy of it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from moderation.types import Outcome


@dataclass(frozen=True, slots=True)
class SameImage:
    """Another submission; `case_id` is of its newest case that is not blind.

    `outcome` is None also while a blind case of it waits.
    """

    submission_id: UUID
    case_id: UUID | None
    caption: str
    outcome: Outcome | None
    created_at: datetime


# Ids rise with time, and of an image that was posted thousands of times few are read. What waits to
# be decided blind is not to be found, nor known, through its neighbours.
_SAME_IMAGE = text(
    """
    WITH this AS MATERIALIZED (
        SELECT coalesce(image_blob, image_url) AS image FROM submissions WHERE id = :submission_id
    ), same AS (
        (
            SELECT id FROM submissions
            WHERE hashtextextended(coalesce(image_blob, image_url), 0)
                    = (SELECT hashtextextended(image, 0) FROM this)
                AND coalesce(image_blob, image_url) = (SELECT image FROM this)
                AND id <> :submission_id
            ORDER BY id DESC LIMIT :limit
        )
        UNION
        SELECT others.submission_id
        FROM (
            SELECT DISTINCT copy_blob FROM cases
            WHERE submission_id = :submission_id AND copy_blob IS NOT NULL
        ) AS ours
        CROSS JOIN LATERAL (
            SELECT DISTINCT submission_id FROM cases
            WHERE cases.copy_blob = ours.copy_blob AND submission_id <> :submission_id
            ORDER BY submission_id DESC LIMIT :limit
        ) AS others
    )
    SELECT submissions.id AS submission_id, newest.id AS case_id, submissions.caption,
           CASE WHEN NOT EXISTS (
               SELECT FROM cases
               WHERE submission_id = same.id AND blind AND state <> 'resolved'
           ) THEN verdicts.outcome END AS outcome, submissions.created_at
    FROM same
    JOIN submissions ON submissions.id = same.id
    LEFT JOIN verdicts ON verdicts.submission_id = same.id
    LEFT JOIN LATERAL (
        SELECT id FROM cases
        WHERE submission_id = same.id AND route IN ('flagged', 'unscorable', 'appeal')
            AND NOT blind
        ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS newest ON true
    ORDER BY submissions.id DESC
    LIMIT :limit
    """
)


def same_image(connection: Connection, submission_id: UUID, limit: int) -> list[SameImage]:
    """Submissions with the same image as this one, the newest first, without itself."""
    rows = connection.execute(_SAME_IMAGE, {"submission_id": submission_id, "limit": limit})
    return [
        SameImage(
            row.submission_id,
            row.case_id,
            row.caption,
            Outcome(row.outcome) if row.outcome else None,
            row.created_at,
        )
        for row in rows
    ]
