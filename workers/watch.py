"""The scheduler's watch: whether recent traffic still is what thresholds were made for."""

import datetime as dt
import time
from threading import Event

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from moderation.metrics import DriftMetrics
from moderation.settings import Settings
from moderation.store.history import Period
from moderation.store.locks import Lock

log = structlog.get_logger()

_LONGEST_QUERY_S = 120
# A look that takes long is taken less often: at most a tenth of the time goes into looking.
_REST_PER_LOOK = 9


class Watch:
    """Shows drift and rates as gauges; of several schedulers one watches.

    Nothing here may reach the scheduler's own work: whatever fails makes the gauges NaN
    and is tried again.
    """

    def __init__(self, database: Engine, settings: Settings, metrics: DriftMetrics) -> None:
        self._database = database
        self._settings = settings
        self._metrics = metrics
        self._told: dict[str, str | None] = {}

    def run(self, stop: Event) -> None:
        """Watch until `stop` is set."""
        while not stop.is_set():
            try:
                with self._database.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    # It is closed for good in the end, and the lock goes with it.
                    connection.detach()
                    self._hold(connection, stop)
            except SQLAlchemyError as error:
                log.warning("watch_failed", error=type(error).__name__)
            except Exception:
                log.exception("watch_broken")
            self._metrics.forget()
            stop.wait(self._settings.watch_every_s)

    def _hold(self, connection: Connection, stop: Event) -> None:
        """Look again and again; returns at once where another scheduler watches."""
        connection.exec_driver_sql(f"SET statement_timeout = '{_LONGEST_QUERY_S}s'")
        lock = text("SELECT pg_try_advisory_lock(:lock)")
        if not connection.execute(lock, {"lock": Lock.WATCH.value}).scalar_one():
            return
        while not stop.is_set():
            started_s = time.monotonic()
            for window, span in self._metrics.WINDOWS.items():
                self._look(connection, window, span)
            took_s = time.monotonic() - started_s
            stop.wait(max(self._settings.watch_every_s, _REST_PER_LOOK * took_s))

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
