"""What the dashboard shows, counted once a minute and not for everybody who looks."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from moderation.published import Publication
from moderation.quality.agreement import Agreement, agreement
from moderation.review.quality_figures import LiveQuality
from moderation.settings import Settings
from moderation.store import agreement as agreement_store
from moderation.store import calibrations, desk_figures
from moderation.store.decisions import Answer
from moderation.store.desk_figures import Judged, Overturned, Waiting
from moderation.store.history import Period
from moderation.store.undecidable import count_undecidable

DAYS = 28

T = TypeVar("T")

# Counts of a minute ago are as good as any, and one look of many people is one question.
_FRESH_S = 60.0


@dataclass(frozen=True, slots=True)
class Published:
    """A publication, with the threshold that is live since, where that is known."""

    entry: Publication
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures at one moment; `days` end with today, which is not over."""

    at: datetime
    days: Sequence[date]
    waiting: Sequence[Waiting]
    decided: Mapping[date, Mapping[Answer, int]]
    judged: Mapping[date, Judged]
    handled: Mapping[date | None, timedelta]
    published: Sequence[Published]
    overturned: Overturned
    agreement: Agreement
    undecidable: int
    quality: LiveQuality


class DashboardFigures:
    """The last snapshot, and counts of the days that are over, which do not change any more."""

    def __init__(self, database: Engine, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._lock = threading.Lock()
        self._over: dict[date, Judged] = {}
        self._last: Snapshot | None = None
        self._made: dict[Callable[[Snapshot], Any], Any] = {}
        self._taken_s = 0.0

    def get(self) -> Snapshot:
        """The figures of now, or of at most a minute ago."""
        with self._lock:
            return self._newest()

    def made_once(self, make: Callable[[Snapshot], T]) -> T:
        """What `make` makes of the figures; made anew only when they are."""
        with self._lock:
            snapshot = self._newest()
            if make not in self._made:
                self._made[make] = make(snapshot)
            made: T = self._made[make]
            return made

    def _newest(self) -> Snapshot:
        if self._last is None or time.monotonic() - self._taken_s > _FRESH_S:
            with self._database.connect() as connection:
                self._last = self._take(connection, datetime.now(UTC))
            self._taken_s = time.monotonic()
            self._made = {}
        return self._last

    def _take(self, connection: Connection, now: datetime) -> Snapshot:
        days = [now.date() - timedelta(days=ago) for ago in reversed(range(DAYS))]
        period = Period(_midnight(days[0]), _midnight(days[-1] + timedelta(days=1)))
        return Snapshot(
            at=now,
            days=days,
            waiting=desk_figures.waiting(connection),
            decided=desk_figures.decided(connection, period),
            judged=self._judged(connection, days),
            handled=desk_figures.handled(connection, period),
            published=_published(connection, period),
            overturned=desk_figures.overturned(connection, period),
            agreement=agreement(agreement_store.decided_twice(connection, timedelta(days=DAYS))),
            undecidable=count_undecidable(connection),
            quality=LiveQuality.read(connection, self._settings, now),
        )

    def _judged(self, connection: Connection, days: Sequence[date]) -> Mapping[date, Judged]:
        """Verdicts of these days; of those long over, only what was not counted yet."""
        missing = [day for day in days if day not in self._over]
        period = Period(_midnight(missing[0]), _midnight(days[-1] + timedelta(days=1)))
        counted = desk_figures.judged(connection, period)
        found = {day: self._over.get(day) or counted.get(day, Judged()) for day in days}
        # A transaction that began before midnight may end after it, but not a day later.
        self._over = {day: found[day] for day in days[:-2]}
        return found


def _published(connection: Connection, period: Period) -> list[Published]:
    entries = [
        entry
        for entry in reversed(calibrations.history(connection))
        if period.since <= entry.created_at < period.until
    ]
    versions = {entry.state.live_version for entry in entries} - {None}
    artifacts = calibrations.stored(connection, [version for version in versions if version])
    thresholds = {
        version: json.loads(stored.artifact).get("threshold")
        for version, stored in artifacts.items()
    }
    return [Published(entry, thresholds.get(entry.state.live_version or "")) for entry in entries]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time_of_day(), UTC)
