"""The Celery app: `celery -A workers.app worker`, or `captionguard worker`."""

import contextlib
import os
import socket
import sys
import threading
from typing import Any

import structlog
from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Ignore
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils.compat import uuid7

from moderation import addresses
from moderation.errors import CaptionguardError
from moderation.logs import configure_logging
from moderation.metrics import serve_metrics
from moderation.queue import SCORE_TASK, celery_app
from moderation.settings import Settings, load_settings
from moderation.store import database, workers
from moderation.store.workers import WorkerInfo
from moderation.wiring import open_services
from workers.runtime import Runtime, open_scorer
from workers.score import handle_message

log = structlog.get_logger()


class RuntimeStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Loads the model before the first message is taken, and beats while the worker lives."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopping = threading.Event()

    def start(self, parent: Any) -> None:
        """Open the runtime; a set-up that is wrong ends the process with what to do."""
        try:
            self._open(parent.app)
        except CaptionguardError as error:
            log.critical("worker_cannot_start", why=str(error))
            # Celery swallows exceptions here into a traceback; an exit it lets through.
            raise SystemExit(1) from error

    def _open(self, app: Celery) -> None:
        settings = load_settings()
        self._services = open_services(settings)
        database.migrate(self._services.database)
        scorer = open_scorer(settings, self._services.metrics)
        worker_id = uuid7()
        self._runtime = Runtime(self._services, scorer, worker_id)
        self._info = WorkerInfo(
            id=worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            model=scorer.model.fingerprint,
            calibration_version=scorer.calibration.version,
            metrics_url=serve_metrics(
                settings, self._services.metrics.registry, setting="metrics_port"
            ),
        )
        self._beat()
        self._beating = threading.Thread(target=self._keep_beating, name="captionguard-beat")
        self._beating.start()
        app.captionguard_runtime = self._runtime
        log.info("worker_ready", worker=str(worker_id), metrics=self._info.metrics_url)

    def stop(self, parent: Any) -> None:
        """Finish the messages under way, leave the others to other workers, give leases up."""
        if self._stopping.is_set() or not hasattr(self, "_beating"):
            return
        self._runtime.stopping.set()
        # Celery stops its pool after this step, and messages under way need the runtime.
        parent.pool.stop()
        self._stopping.set()
        self._beating.join()
        self._runtime.close()
        with (
            contextlib.suppress(SQLAlchemyError),
            self._services.database.begin() as connection,
        ):
            workers.leave(connection, self._info.id)
        self._services.close()

    terminate = stop

    def _keep_beating(self) -> None:
        while not self._stopping.wait(self._services.settings.beat_s):
            try:
                self._beat()
            except SQLAlchemyError as error:
                log.warning("beat_failed", error=type(error).__name__)

    def _beat(self) -> None:
        holding = [request.id for request in tuple(state.reserved_requests)]
        with self._services.database.begin() as connection:
            workers.beat(connection, self._info, holding)


def create_worker_app(settings: Settings) -> Celery:
    """The app of a worker: the shared configuration, and how messages are taken."""
    app = celery_app(addresses.redis_url(settings))
    app.conf.update(
        worker_pool="threads",
        worker_concurrency=settings.message_threads,
        # A message is acknowledged when its verdicts are stored. Twice as many are taken as
        # are worked on, since the consumer sleeps while none is left to take (celery 6941).
        task_acks_late=True,
        worker_prefetch_multiplier=2,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    app.steps["worker"].add(RuntimeStep)
    app.task(name=SCORE_TASK, bind=True)(score)
    return app


def score(task: Task, document: Any) -> None:
    """The task `captionguard.score`."""
    runtime: Runtime = task.app.captionguard_runtime
    if runtime.stopping.is_set():
        # Unfinished and held by nobody, it is sent again within seconds.
        raise Ignore
    handle_message(runtime, document, message_id=task.request.id)


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery has no types
def _configure_logging(**_: Any) -> None:
    configure_logging(load_settings().log_format)


def _app_for_command_line() -> Celery:
    """What `celery -A workers.app` finds; says what is missing rather than a traceback."""
    try:
        return create_worker_app(load_settings())
    except CaptionguardError as error:
        sys.exit(f"captionguard: {error}")


def __getattr__(name: str) -> Any:
    # Lazily, so that importing this module reads no environment and opens nothing.
    if name in ("app", "celery"):
        globals()["app"] = globals()["celery"] = _app_for_command_line()
        return globals()[name]
    raise AttributeError(name)
