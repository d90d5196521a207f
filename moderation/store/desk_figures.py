"""Figures of the desk: what waits, what was decided, what was flagged. Days are those of UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.history import Period


@dataclass(frozen=True, slots=True)
class Waiting:
    """Cases that wait, of one route or, without one, of those that are decided blind."""

    route: Route | None
    cases: int
    oldest: timedelta
    median: timedelta


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a day."""

    passed: int = 0
    flagged: int = 0
    unscorable: int = 0


@dataclass(frozen=True, slots=True)
class Overturned:
    """Appeals that were clearly answered, and how many otherwise than what they are against."""

    appeals: int
    overturned: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of a decision: its answer, how long it took, and what it did to an appeal.

    `took` is None for one of several that were made together, `is_overturned` unless it gave an
    appeal its clear answer.
    """

    answer: Answer
    took: timedelta | None
    is_overturned: bool | None


# Blind cases are one group for everybody: whoever saw the count of a route fall with their own
# decision would know what they decided on. Each half of the union has a small index of its own.
_WAITING = text(
    """
    WITH waiting AS (
        SELECT CASE WHEN blind THEN NULL ELSE route END AS route, now() - created_at AS age
        FROM cases WHERE state = 'open'
        UNION ALL
        SELECT CASE WHEN blind THEN NULL ELSE route END, now() - created_at
        FROM cases WHERE state = 'held' AND assigned_to IS NOT NULL
    )
    SELECT route, count(*) AS cases, max(age) AS oldest,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY age) AS median
    FROM waiting GROUP BY route ORDER BY route NULLS LAST
    """
)

_DECIDED = text(
    """
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, answer, count(*) AS decisions
    FROM standing_decisions
    WHERE created_at >= :since AND created_at < :until
    GROUP BY day, answer
    """
)

# date_bin costs a third of what date_trunc with a time zone does, and days of UTC are all alike.
_JUDGED = text(
    """
    SELECT date_bin('1 day', created_at, TIMESTAMPTZ '2000-01-01 00:00Z') AS begins_at,
        count(*) FILTER (WHERE outcome = 'pass') AS passed,
        count(*) FILTER (WHERE outcome = 'flag') AS flagged,
        count(*) FILTER (WHERE outcome = 'unscorable') AS unscorable
    FROM verdicts WHERE created_at >= :since AND created_at < :until
    GROUP BY begins_at
    """
)

# A page claims the next case while the one before is looked at: that time is not of both.
_HANDLED = text(
    """
    WITH each AS (
        SELECT decisions.created_at, decisions.batch_id,
            decisions.created_at - greatest(
                claims.created_at,
                lag(decisions.created_at) OVER (
                    PARTITION BY decisions.decided_by ORDER BY decisions.created_at
                )
            ) AS took
        FROM standing_decisions AS decisions JOIN claims ON claims.id = decisions.claim_id
        WHERE decisions.created_at >= :since AND decisions.created_at < :until
    )
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took) AS median
    FROM each WHERE batch_id IS NULL GROUP BY GROUPING SETS ((day), ())
    """
)

# What an appeal is against is the answer that stood before it or, without any, the verdict.
_SETTLED = """
    SELECT appealed.id AS case_id, appealed.resolution <> coalesce(
        before.resolution, CASE verdicts.outcome WHEN 'pass' THEN 'match' ELSE 'mismatch' END
    ) AS is_overturned
    FROM cases AS appealed
    JOIN verdicts ON verdicts.submission_id = appealed.submission_id
    LEFT JOIN LATERAL (
        SELECT resolution FROM cases
        WHERE cases.submission_id = appealed.submission_id AND cases.id <> appealed.id
            AND cases.route <> 'golden' AND cases.resolution IN ('match', 'mismatch')
            AND cases.resolved_at <= appealed.created_at
        ORDER BY cases.resolved_at DESC LIMIT 1
    ) AS before ON true
    WHERE appealed.id IN (SELECT case_id FROM appeals)
        AND appealed.resolution IN ('match', 'mismatch')
"""
_OVERTURNED = text(
    f"""
    SELECT count(*) AS appeals, count(*) FILTER (WHERE is_overturned) AS overturned
    FROM (
        {_SETTLED} AND appealed.resolved_at >= :since AND appealed.resolved_at < :until
    ) AS settled
    """  # noqa: S608
)

# As `_HANDLED` has it, for the few that were just made: what somebody decided since they claimed.
_COUNTED = text(
    f"""
    SELECT decisions.answer, settled.is_overturned,
        CASE WHEN decisions.batch_id IS NULL THEN decisions.created_at - greatest(
            claims.created_at,
            (
                SELECT max(earlier.created_at) FROM standing_decisions AS earlier
                WHERE earlier.decided_by = decisions.decided_by
                    AND earlier.created_at >= claims.created_at
                    AND earlier.created_at < decisions.created_at
            )
        ) END AS took
    FROM decisions JOIN claims ON claims.id = decisions.claim_id
    LEFT JOIN LATERAL ({_SETTLED} AND appealed.id = decisions.case_id) AS settled ON true
    WHERE decisions.id = ANY(:ids)
    """  # noqa: S608
)


def waiting(connection: Connection) -> list[Waiting]:
    """What waits now, by route; what is laid aside waits too."""
    return [
        Waiting(Route(row.route) if row.route else None, row.cases, row.oldest, row.median)
        for row in connection.execute(_WAITING)
    ]


def decided(connection: Connection, period: Period) -> Mapping[date, Mapping[Answer, int]]:
    """Decisions that stand, by day and answer; days without any are left out."""
    found: dict[date, dict[Answer, int]] = {}
    for row in connection.execute(_DECIDED, _of(period)):
        found.setdefault(row.day, {})[Answer(row.answer)] = row.decisions
    return found


def judged(connection: Connection, period: Period) -> Mapping[date, Judged]:
    """Verdicts by day; days without any are left out. About a second for two million."""
    return {
        row.begins_at.astimezone(UTC).date(): Judged(row.passed, row.flagged, row.unscorable)
        for row in connection.execute(_JUDGED, _of(period))
    }


def handled(connection: Connection, period: Period) -> Mapping[date | None, timedelta]:
    """The median time from a case's coming in sight to its decision, by day; None: of all days.

    Cases that were decided together do not count.
    """
    rows = connection.execute(_HANDLED, _of(period))
    return {row.day: row.median for row in rows if row.median is not None}


def overturned(connection: Connection, period: Period) -> Overturned:
    """Appeals that were settled in a period."""
    row = connection.execute(_OVERTURNED, _of(period)).one()
    return Overturned(row.appeals, row.overturned)


def counted(connection: Connection, decision_ids: Sequence[UUID]) -> list[Counted]:
    """What is counted of decisions that this transaction made."""
    rows = connection.execute(_COUNTED, {"ids": list(decision_ids)})
    return [Counted(Answer(row.answer), row.took, row.is_overturned) for row in rows]


def _of(period: Period) -> dict[str, datetime]:
    return {"since": period.since, "until": period.until}
