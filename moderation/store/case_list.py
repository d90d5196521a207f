"""Open cases as a list: what a person may decide now, the earliest due first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from moderation.store.cases import Level, Route
from moderation.store.claims import MAY_TAKE, taker
from moderation.store.users import User


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cases; each bound that is given holds, both ends included."""

    level: Level = Level.MODERATOR
    policy: str | None = None
    route: Route | None = None
    score_min: float | None = None
    score_max: float | None = None
    age_min: timedelta | None = None
    age_max: timedelta | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the list ends: the next one begins after it."""

    due_at: datetime
    case_id: UUID


@dataclass(frozen=True, slots=True)
class Listed:
    """A case of the list with its submission and verdict; unscorable ones have no score."""

    id: UUID
    submission_id: UUID
    policy: str
    caption: str
    created_at: datetime
    due_at: datetime
    level: Level
    route: Route
    score: float | None
    threshold: float
    reason: str | None
    has_image: bool


# Blind cases are left out whatever their route: a list shows scores, and whoever saw a case in it
# knows that it is none of those that are decided blind. OFFSET 0, and that the verdict is named,
# keep PostgreSQL from asking of each case whether it may be taken before it knows that it fits.
_LISTED = f"""
    SELECT cases.id, cases.submission_id, cases.policy, submissions.caption,
        cases.created_at, cases.due_at, cases.level, cases.route, verdicts.score,
        verdicts.threshold, verdicts.reason, cases.copy_blob IS NOT NULL AS has_image
    FROM cases
    JOIN submissions ON submissions.id = cases.submission_id
    JOIN verdicts ON verdicts.submission_id = cases.submission_id
    CROSS JOIN LATERAL (
        SELECT WHERE verdicts.submission_id = submissions.id AND {MAY_TAKE} OFFSET 0
    ) AS mine_to_take
    WHERE cases.state = 'open' AND cases.level = :level AND NOT cases.blind
        AND cases.route IN ('flagged', 'unscorable')
        AND (cases.assigned_to IS NULL OR cases.assigned_to = :user_name)
"""  # noqa: S608 - put together from our own texts only
# One for each part of a filter that is given; what is not given costs nothing.
_PARTS = {
    "policy": "cases.policy = :policy",
    "route": "cases.route = :route",
    "score_min": "verdicts.score >= :score_min",
    "score_max": "verdicts.score <= :score_max",
    "age_min": "cases.created_at <= now() - CAST(:age_min AS interval)",
    "age_max": "cases.created_at >= now() - CAST(:age_max AS interval)",
    "caption": "strpos(lower(submissions.caption), lower(:caption)) > 0",
}
_AFTER = "(cases.due_at, cases.id) > (:due_at, :case_id)"


def listed(
    connection: Connection, user: User, wanted: Filter, *, after: Place | None, at_most: int
) -> list[Listed]:
    """Open, unblinded cases of one level that this person may decide now."""
    given = {**taker(user), "level": wanted.level.value, "at_most": at_most}
    given |= {name: getattr(wanted, name) for name in _PARTS}
    parts = [condition for name, condition in _PARTS.items() if given[name] is not None]
    if after is not None:
        parts.append(_AFTER)
        given |= {"due_at": after.due_at, "case_id": after.case_id}
    query = " AND ".join((_LISTED, *parts)) + " ORDER BY cases.due_at, cases.id LIMIT :at_most"
    rows = connection.execute(text(query), given)
    return [
        Listed(
            row.id, row.submission_id, row.policy, row.caption, row.created_at, row.due_at,
            Level(row.level), Route(row.route), row.score, row.threshold, row.reason,
            row.has_image,
        )
        for row in rows
    ]  # fmt: skip
