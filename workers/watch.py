"""The scheduler's watch: whether recent traffic still is what thresholds were made for."""

import datetime as dt
from threading import Event

import structlog
from sqlalchemy import Connection, Engine, text

from moderation.metrics import DriftMetrics
from moderation.settings import Settings
from moderation.store.history import Period
from moderation.store.locks import Lock
from workers.alone import Alone

log = structlog.get_logger()

_LONGEST_QUERY_S = 120


class Watch:
    """Shows drift and rates as gauges; of several schedulers one watches."""

    def __init__(self, database: Engine, settings: Settings, metrics: DriftMetrics) -> None:
        self._alone = Alone(database, Lock.WATCH, "watch", settings.watch_every_s, _LONGEST_QUERY_S)
        self._settings = settings
        self._metrics = metrics
        self._told: dict[str, str | None] = {}

    def run(self, stop: Event) -> None:
        """Watch until `stop` is set."""
        self._alone.run(stop, each=self._look_at_all, forget=self._metrics.forget)

    def _look_at_all(self, connection: Connection) -> None:
        for window, span in self._metrics.WINDOWS.items():
            self._look(connection, window, span)

    def _look(self, connection: Connection, window: str, span: dt.timedelta) -> None:
        # Here, as it takes a second which the start of the scheduler does without.
        from thresholds.drift import MIN_ITEMS
        from thresholds.windows import look_at_live

        now: dt.datetime = connection.execute(text("SELECT now()")).scalar_one()
        seen = look_at_live(connection, Period(now - span, now), self._settings)
        drift, rates = seen.drift, seen.rates
        for gauge, value in (
            (self._metrics.psi, drift.psi),
            (self._metrics.psi_by_chance, drift.psi_by_chance),
            (self._metrics.wasserstein, drift.wasserstein),
            (self._metrics.items, drift.items),
            (self._metrics.flag_rate, rates.flag_rate),
            (self._metrics.unscorable_rate, rates.unscorable_rate),
            (self._metrics.caption_truncated_rate, rates.caption_truncated_rate),
            (self._metrics.models, len(rates.models)),
        ):
            gauge.labels(window).set(float("nan") if value is None else value)
        is_news = drift.reason not in (None, self._told.get(window))
        # That there are few verdicts is no fault.
        if is_news and drift.items >= MIN_ITEMS:
            log.warning("drift_not_known", window=window, reason=drift.reason)
        self._told[window] = drift.reason
