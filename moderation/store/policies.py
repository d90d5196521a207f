"""Policies as they are met: each is a name that submissions bear, and what holds for it."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, text

from moderation.store import calibrations
from moderation.types import DEFAULT_POLICY

# Submissions looked at for the names of policies: found by primary key within milliseconds,
# where a search of the whole table takes minutes.
_RECENT = 20_000


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy and the threshold that holds for it now, if that is known.

    `submissions` are those of the last twenty thousand of all. `is_published` is false where
    nobody has published to it or to the default: the threshold is then its last verdict's.
    """

    name: str
    submissions: int
    threshold: float | None
    version: str | None
    is_published: bool


_NAMES = text(
    """
    SELECT policy, count(*) AS submissions, (array_agg(
        ARRAY[verdicts.threshold::text, verdicts.calibration_version] ORDER BY recent.id DESC
    ) FILTER (WHERE verdicts.threshold IS NOT NULL))[1:1] AS last
    FROM (SELECT id, policy FROM submissions ORDER BY id DESC LIMIT :recent) AS recent
    LEFT JOIN verdicts ON verdicts.submission_id = recent.id
    GROUP BY policy
    """
)


def in_use(connection: Connection) -> list[Policy]:
    """The policies of recent submissions, those with a threshold or reasons of their own, default.

    By name, the default first.
    """
    recent = {row.policy: row for row in connection.execute(_NAMES, {"recent": _RECENT})}
    live = {
        policy: entry.state.live_version
        for policy, entry in calibrations.current(connection).items()
        if entry.state.live_version
    }
    thresholds = {
        version: float(json.loads(stored.artifact)["threshold"])
        for version, stored in calibrations.stored(connection, set(live.values())).items()
    }
    with_reasons = connection.execute(text("SELECT policy FROM policy_reasons")).scalars()
    names = {DEFAULT_POLICY, *recent, *live, *with_reasons}

    def policy(name: str) -> Policy:
        row = recent.get(name)
        version = live.get(name) or live.get(DEFAULT_POLICY)
        is_published = version is not None
        threshold = thresholds.get(version) if version else None
        if not is_published and row is not None and row.last:
            threshold, version = float(row.last[0][0]), row.last[0][1]
        return Policy(name, row.submissions if row else 0, threshold, version, is_published)

    return [policy(name) for name in sorted(names, key=lambda name: (name != DEFAULT_POLICY, name))]
