"""From the tables to figures: what came in a window, and what is known of it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection

from moderation.quality.agreement import agreement
from moderation.quality.estimates import estimate
from moderation.quality.figures import WINDOWS, Figures, Quality, Reviewed, Scope, Window
from moderation.store import verdict_counts
from moderation.store.agreement import decided_twice
from moderation.store.history import Bools, Ints
from moderation.store.ingested import HOUR, hour_of
from moderation.store.reviewed import Cases, reviewed
from moderation.store.verdict_counts import Counts, Kinds

# Of policies, and of calibrations, those with most traffic have figures of their own: platforms
# may name a policy as they like, and each is a dozen series in Prometheus. The others count in
# what is overall, as one.
MOST_SCOPES = 50


def measure(
    connection: Connection, *, now: datetime, lag: timedelta, windows: Sequence[int] = WINDOWS
) -> Figures:
    """The figures of what came in until `lag` before now, from what is in the database.

    A window has whole hours: those that began before `now - lag`. It has been counted before, but
    for its last hours: `verdict_counts.roll_up` says on what connection. Agreement is of the
    longest window.
    """
    until = hour_of(now - lag - timedelta.resolution) + HOUR
    days = sorted(set(windows), reverse=True)
    starts = [until - timedelta(days=each) for each in days]
    verdict_counts.roll_up(connection, starts[0], until, now=now)
    kinds = verdict_counts.kinds(connection, starts[0], until, most=MOST_SCOPES)
    counts = verdict_counts.counts(connection, starts, until, kinds)
    cases = reviewed(connection, starts, until, kinds)
    twice = decided_twice(connection, timedelta(days=days[0]))
    of: dict[Scope, Quality] = {}
    for span, each in enumerate(days):
        for scope, counted, looked_at in _scopes(each, kinds, counts, cases):
            came_in = counted & (counts.spans >= span)
            if came_in.any() or scope == Scope(each):
                shown = looked_at & (cases.spans >= span)
                of[scope] = estimate(_window(kinds, counts, came_in, cases, shown))
    return Figures(now, lag, of, agreement(twice))


def _scopes(
    days: int, kinds: Kinds, counts: Counts, cases: Cases
) -> Iterator[tuple[Scope, Bools, Bools]]:
    """Scopes with which counts, and which cases, are theirs."""
    yield Scope(days), np.ones(len(counts.spans), np.bool_), np.ones(len(cases.spans), np.bool_)
    for code, name in enumerate(kinds.policies):
        yield Scope(days, policy=name), counts.policies == code, cases.policies == code
    for code, name in enumerate(kinds.versions):
        scope = Scope(days, calibration_version=name)
        yield scope, counts.versions == code, cases.versions == code


def _window(kinds: Kinds, counts: Counts, came_in: Bools, cases: Cases, shown: Bools) -> Window:
    """Flags are alike by policy and score, neighbours by the same score in other policies.

    A score tells more than a policy of what people will say, and of how soon they will.
    """
    apart = len(kinds.policies) + 1
    by_score = counts.bins * apart + counts.policies
    flagged, audited = shown & ~cases.is_audit, shown & cases.is_audit
    return Window(
        flags=_sums(by_score, counts.verdicts, came_in & counts.is_flag),
        passes=_sums(counts.policies, counts.verdicts, came_in & ~counts.is_flag),
        flagged=_rows(cases, cases.bins * apart + cases.policies, flagged),
        audited=_rows(cases, cases.policies, audited),
    )


def _sums(strata: Ints, verdicts: Ints, chosen: Bools) -> dict[int, int]:
    found, numbers = np.unique(strata[chosen], return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, numbers, verdicts[chosen])
    return dict(zip(found.tolist(), sums.tolist(), strict=True))


def _rows(cases: Cases, strata: Ints, chosen: Bools) -> Reviewed:
    return Reviewed(
        strata=strata[chosen],
        weights=1 / cases.probabilities[chosen],
        first=cases.first[chosen],
        second=cases.second[chosen],
        settled=cases.settled[chosen],
        cases=cases.cases[chosen],
    )
