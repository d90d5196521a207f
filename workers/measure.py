"""The scheduler's measuring: precision and recall, kept and shown, and the audits planned."""

import datetime as dt
from threading import Event

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from moderation.quality.exporter import QualityMetrics
from moderation.review.metrics import WaitingMetrics
from moderation.settings import Settings
from moderation.store import desk_figures, quality_estimates
from moderation.store.audit_plans import Auditing
from moderation.store.locks import Lock
from workers.alone import Alone
from workers.audit_planning import replan

log = structlog.get_logger()

# Four weeks with millions of cases take some seconds; a busy server takes ten times that.
_LONGEST_QUERY_S = 600


class Measuring:
    """Measures, keeps and shows the figures, and plans audits; of several schedulers one does."""

    def __init__(self, database: Engine, settings: Settings, registry: CollectorRegistry) -> None:
        self._alone = Alone(
            database, Lock.QUALITY, "measuring", settings.quality_every_s, _LONGEST_QUERY_S
        )
        self._database = database
        self._settings = settings
        self._quality = QualityMetrics(registry)
        self._waiting = WaitingMetrics(registry)

    def run(self, stop: Event) -> None:
        """Measure until `stop` is set."""
        self._alone.run(stop, each=self._round, forget=self._forget)

    def _round(self, connection: Connection) -> None:
        # Here, as the start of the scheduler does without it.
        from moderation.quality.measure import measure

        now: dt.datetime = connection.execute(text("SELECT now()")).scalar_one()
        self._waiting.show(desk_figures.waiting(connection))
        auditing = self._replan(connection, now)
        lag = dt.timedelta(seconds=self._settings.quality_lag_s)
        figures = measure(connection, now=now, lag=lag)
        with self._database.begin() as keeping:
            quality_estimates.keep(keeping, figures)
        self._quality.show(figures, auditing)

    def _replan(self, connection: Connection, now: dt.datetime) -> Auditing | None:
        """The plan in force; None where planning fails, which keeps nothing from being measured."""
        try:
            return replan(connection, self._settings, now)
        except SQLAlchemyError as error:
            log.warning("audit_planning_failed", error=type(error).__name__)
        except Exception:
            log.exception("audit_planning_broken")
        return None

    def _forget(self) -> None:
        self._quality.forget()
        self._waiting.forget()
