"""How many verdicts came in, by hour: what is counted once need not be counted each time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from moderation.store.history import Bools, Ints
from moderation.store.ingested import HOUR, came_in_at, first_id, hour_of

# Of equal width in a score: so many tell well enough which flags are alike.
BINS = 40
# The bin of a verdict; also of those whose cases are counted, so that the two agree.
BIN_SQL = f"coalesce(least(floor(verdicts.score * {BINS}), {BINS - 1}), -1)::smallint"

# Verdicts are never taken back, so that an hour's counts only grow: of two who count it at the
# same time, whichever saw more is right. What is pending, and what is not, is of one snapshot.
# Three hours: an id is made before its row is stored, and by a clock that may be hours off.
_COUNT = text(
    f"""
    WITH counted AS (
        INSERT INTO counted_hours (hour, is_whole)
        SELECT CAST(:hour AS timestamptz),
            CAST(:hour AS timestamptz) + interval '4 h' <= least(now(), :now) AND NOT EXISTS (
                SELECT FROM submissions WHERE id >= :first AND id < :end AND done_at IS NULL
            )
        ON CONFLICT (hour) DO UPDATE
        SET is_whole = counted_hours.is_whole OR excluded.is_whole, counted_at = now()
    )
    INSERT INTO verdict_counts (hour, policy, calibration_version, outcome, bin, verdicts)
    SELECT :hour, submissions.policy, calibration_version, outcome, {BIN_SQL} AS bin, count(*)
    FROM verdicts JOIN submissions ON submissions.id = verdicts.submission_id
    WHERE verdicts.submission_id >= :first AND verdicts.submission_id < :end
    GROUP BY submissions.policy, calibration_version, outcome, bin
    ORDER BY submissions.policy, calibration_version, outcome, bin
    ON CONFLICT (hour, policy, calibration_version, outcome, bin) DO UPDATE
    SET verdicts = greatest(verdict_counts.verdicts, excluded.verdicts)
    """  # noqa: S608 - only numbers of this module's own
)

_OLDEST = text("SELECT id FROM submissions ORDER BY id LIMIT 1")
_WHOLE = text("SELECT hour FROM counted_hours WHERE hour >= :since AND hour < :until AND is_whole")

_BUSIEST = """
    SELECT {name} FROM verdict_counts
    WHERE hour >= :since AND hour < :until AND outcome <> 'unscorable'
    GROUP BY {name} ORDER BY sum(verdicts) DESC, {name} LIMIT :most
"""
_POLICIES = text(_BUSIEST.format(name="policy"))
_VERSIONS = text(_BUSIEST.format(name="calibration_version"))

_COUNTS = text(
    """
    SELECT spans,
        coalesce(array_position(CAST(:policies AS text[]), policy) - 1, :others) AS policies,
        coalesce(array_position(CAST(:versions AS text[]), version) - 1, :other_versions),
        is_flag, bin, sum(verdicts)::bigint
    FROM (
        SELECT width_bucket(hour, CAST(:starts AS timestamptz[])) - 1 AS spans, policy,
            calibration_version AS version, outcome = 'flag' AS is_flag, bin,
            sum(verdicts) AS verdicts
        FROM verdict_counts
        WHERE hour >= :since AND hour < :until AND outcome <> 'unscorable'
        GROUP BY 1, 2, 3, 4, 5
    ) AS each
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    """
)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Names that arrays hold as their numbers in these; all others have the number after them."""

    policies: Sequence[str]
    versions: Sequence[str]

    def parameters(self) -> dict[str, Any]:
        """As queries want them."""
        return {
            "policies": list(self.policies),
            "versions": list(self.versions),
            "others": len(self.policies),
            "other_versions": len(self.versions),
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Scored verdicts in rows of alike ones, (n,) each; a row stands for `verdicts` of them.

    `spans` says after which of the starts they came in, `bins` in which part of a score they are.
    """

    spans: Ints
    policies: Ints
    versions: Ints
    is_flag: Bools
    bins: Ints
    verdicts: Ints


def roll_up(connection: Connection, since: datetime, until: datetime, *, now: datetime) -> int:
    """Count the hours of a period that may have changed since they were; how many.

    An hour is counted for the last time once it has been over for three hours and nothing of it
    is pending. Each is a statement, and on a connection in autocommit a transaction of its own.
    Any number of processes may do so at once.
    """
    return sum(1 for _ in _count_each(connection, since, until, now))


def kinds(connection: Connection, since: datetime, until: datetime, *, most: int) -> Kinds:
    """The policies and the calibrations that most scored verdicts of counted hours are of."""
    given = {"since": since, "until": until, "most": most}
    return Kinds(
        list(connection.execute(_POLICIES, given).scalars()),
        list(connection.execute(_VERSIONS, given).scalars()),
    )


def counts(
    connection: Connection, starts: Sequence[datetime], until: datetime, kinds: Kinds
) -> Counts:
    """What came in counted hours from the first of the starts, in ascending order, on."""
    given = {"starts": list(starts), "since": starts[0], "until": until, **kinds.parameters()}
    rows = connection.execute(_COUNTS, given).all()
    columns = list(zip(*rows, strict=True)) or [()] * 6
    types = (np.int64, np.int64, np.int64, np.bool_, np.int64, np.int64)
    return Counts(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


def _count_each(
    connection: Connection, since: datetime, until: datetime, now: datetime
) -> Iterator[datetime]:
    oldest = connection.execute(_OLDEST).scalar_one_or_none()
    if oldest is None:
        return
    hour = max(hour_of(since), hour_of(came_in_at(oldest)))
    given = {"since": hour, "until": until}
    whole = set(connection.execute(_WHOLE, given).scalars())
    while hour < until:
        if hour not in whole:
            parameters = {"hour": hour, "first": first_id(hour), "end": first_id(hour + HOUR)}
            connection.execute(_COUNT, {**parameters, "now": now})
            yield hour
        hour += HOUR
