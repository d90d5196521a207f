"""What passed in the last day: how much, and with which scores."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection, text

from moderation.curves import Floats

_MOST_SCORES = 10_000

# A period of `created_at`, which has an index: less than a second for two million verdicts.
_COUNTED = text(
    """
    SELECT count(*) AS in_day,
        count(*) FILTER (WHERE created_at >= CAST(:now AS timestamptz) - interval '1 h') AS in_hour
    FROM verdicts
    WHERE created_at >= CAST(:now AS timestamptz) - interval '24 h' AND created_at < :now
        AND outcome = 'pass'
    """
)
# The end of the primary key, which begins with the time: however many there are, a moment.
_SCORES = text(
    """
    SELECT score FROM (
        SELECT score, outcome, created_at FROM verdicts ORDER BY submission_id DESC LIMIT :most
    ) AS newest
    WHERE outcome = 'pass' AND created_at >= CAST(:now AS timestamptz) - interval '24 h'
    """
)
_FIRST = text("SELECT created_at FROM verdicts ORDER BY submission_id LIMIT 1")


@dataclass(frozen=True, slots=True)
class RecentPasses:
    """How many passed in a day and in its last hour, and how long there have been verdicts.

    `scores`, (n,), are those of the newest, at most some thousands.
    """

    in_day: int
    in_hour: int
    history: timedelta
    scores: Floats


def until(connection: Connection, now: datetime) -> RecentPasses:
    """The day before a moment."""
    first = connection.execute(_FIRST).scalar_one_or_none()
    counted = connection.execute(_COUNTED, {"now": now}).one()
    scores = connection.execute(_SCORES, {"now": now, "most": _MOST_SCORES}).scalars()
    return RecentPasses(
        in_day=counted.in_day,
        in_hour=counted.in_hour,
        history=max(now - first, timedelta(0)) if first else timedelta(0),
        scores=np.array(list(scores), np.float64),
    )
