"""The Celery app: `celery -A workers.app worker`, or `captionguard worker`."""

import contextlib
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import structlog
from celery import Celery, Task, bootsteps, signals
from celery.exceptions import Ignore, Reject
from celery.worker import state
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from uuid_utils.compat import uuid7

from moderation import addresses
from moderation.errors import CaptionguardError
from moderation.logs import configure_logging
from moderation.metrics import serve_metrics
from moderation.queue import SCORE_TASK, celery_app, packed_ids, storable_id
from moderation.settings import Settings, load_settings
from moderation.store import calibrations, database, workers
from moderation.store.direct import KeptConnection
from moderation.store.pulse import News, beat_and_ask
from moderation.store.workers import WorkerInfo
from moderation.wiring import open_services
from thresholds.versions import set_artifact
from workers.auditing import Audits
from workers.prefetch import Prefetch, PrefetchStep
from workers.published import Calibrations, no_calibration
from workers.recovery import until_database_answers
from workers.runtime import Runtime, allow_open_files, open_scorer
from workers.score import handle_message

log = structlog.get_logger()

_PUT_BACK_AFTER_S = 2.0
_READ_TIMEOUT_MS = 2000
_PREFETCH_MULTIPLIER = 2
_WAIT_FOR_MESSAGES_S = 5
_COLLECT_AFTER_OBJECTS = 20_000


class RuntimeStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Loads the model before the first message is taken, and beats while the worker lives."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopping = threading.Event()
        self._news, self._taken_up = threading.Event(), threading.Event()

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
        allow_open_files()
        # Whatever a worker asks PostgreSQL it asks again.
        self._services = open_services(settings, checks_connections=False)
        database.migrate(self._services.database)
        artifact = set_artifact(settings)
        if artifact is None:
            # Told at once, and not after a large model was loaded in vain.
            with self._services.database.connect() as connection:
                if calibrations.newest_id(connection) is None:
                    raise no_calibration(settings)
        scorer = open_scorer(settings, self._services.metrics, artifact)
        self._calibrations = Calibrations(scorer.model, scorer.calibration, self._services.metrics)
        self._audits = Audits(settings.audit_budget_per_day)
        # Connections may have died while the model was loaded.
        until_database_answers(self._look_first)
        worker_id = uuid7()
        prefetch = Prefetch(most_messages=_PREFETCH_MULTIPLIER * settings.message_threads)
        self._runtime = Runtime(
            self._services, scorer, self._calibrations, self._audits, worker_id, prefetch
        )
        self._info = WorkerInfo(
            id=worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            model=scorer.model.fingerprint,
            calibration_version=self._calibrations.current.default.live.version,
            publication=self._calibrations.current.publication,
            metrics_url=serve_metrics(
                settings, self._services.metrics.registry, setting="metrics_port"
            ),
        )
        # Not the pool's: while all its connections wait for a lock, this worker still lives.
        self._beat_database = database.connect(
            addresses.database_url(settings), pool_size=1, is_checked=False
        )
        self._beats = KeptConnection(self._beat_database)
        self._heard = self._pulse()
        self._audits.living_workers = self._heard.living_workers
        self._beating = threading.Thread(target=self._keep_beating, name="captionguard-beat")
        self._beating.start()
        # Beside the beats: however long it takes to read what is published, this worker lives.
        self._looking = threading.Thread(
            target=self._keep_looking, name="captionguard-look", daemon=True
        )
        self._looking.start()
        app.captionguard_runtime = self._runtime
        # Each full collection would walk all of torch's objects, which live as long as we do.
        gc.collect()
        gc.freeze()
        # Some hundreds of submissions, of which hardly any leaves a cycle behind.
        gc.set_threshold(_COLLECT_AFTER_OBJECTS)
        log.info("worker_ready", worker=str(worker_id), metrics=self._info.metrics_url)

    def _look_first(self) -> None:
        with self._services.database.connect() as connection:
            self._calibrations.look(connection)
            self._audits.look(connection)

    def stop(self, parent: Any) -> None:
        """Finish the messages under way, leave the others to other workers, give leases up."""
        if self._stopping.is_set() or not hasattr(self, "_beating"):
            return
        self._runtime.stopping.set()
        # Celery stops its pool after this step, and messages under way need the runtime.
        parent.pool.stop()
        self._stopping.set()
        self._news.set()
        self._taken_up.set()
        self._beating.join()
        self._looking.join()
        self._runtime.close()
        with (
            contextlib.suppress(SQLAlchemyError),
            self._services.database.begin() as connection,
        ):
            workers.leave(connection, self._info.id)
        self._beats.close()
        self._beat_database.dispose()
        self._services.close()

    terminate = stop

    def _keep_beating(self) -> None:
        beat_s = self._services.settings.beat_s
        while not self._stopping.is_set():
            # Woken, since whoever published waits for it.
            self._taken_up.wait(beat_s)
            self._taken_up.clear()
            try:
                self._heard = self._pulse()
            except psycopg.errors.QueryCanceled as error:
                log.warning("publications_not_read", error=type(error).__name__)
            except Exception as error:
                # Whatever it is: a worker without beats is taken for dead while it works.
                log.warning("beat_failed", error=type(error).__name__)
            else:
                if self._is_behind(self._heard):
                    self._news.set()

    def _keep_looking(self) -> None:
        while True:
            self._news.wait()
            # Before it is looked whether to stop: what says so afterwards is not cleared away.
            self._news.clear()
            if self._stopping.is_set():
                return
            self._look(self._heard)

    def _is_behind(self, news: News) -> bool:
        self._audits.living_workers = news.living_workers
        return self._calibrations.is_behind(news.publication) or self._audits.is_behind(
            news.audit_plan_at
        )

    def _look(self, news: News) -> None:
        """Take up what is new."""
        if self._calibrations.is_behind(news.publication) and self._read(self._calibrations.look):
            self._taken_up.set()
        if self._audits.is_behind(news.audit_plan_at):
            self._read(self._audits.look, is_of_audits=True)

    def _read(self, look: Callable[[Connection], bool], *, is_of_audits: bool = False) -> bool:
        """Whether what was read changed anything; what failed is told in the log."""
        try:
            with self._services.database.begin() as connection:
                connection.execute(text(f"SET LOCAL statement_timeout = {_READ_TIMEOUT_MS}"))
                return look(connection)
        except SQLAlchemyError as error:
            log.warning(
                "audit_plan_not_read" if is_of_audits else "publications_not_read",
                error=type(error).__name__,
            )
        except Exception:
            # Whatever it was, what comes after it is to be taken up.
            log.exception("look_broken")
        return False

    def _pulse(self) -> News:
        settings = self._services.settings
        holding = [storable_id(request.id) for request in _reserved_requests()]
        in_force = self._calibrations.current
        info = replace(
            self._info,
            calibration_version=in_force.default.live.version,
            publication=in_force.publication,
        )
        with self._beats.autocommit() as connection:
            return beat_and_ask(
                connection,
                info,
                holding,
                lease_s=settings.lease_s,
                # A lock is not waited for until the next beat is due: leases last two of them.
                timeout_ms=max(1, int(500 * settings.beat_s)),
            )


def _reserved_requests() -> list[Any]:
    while True:
        try:
            return list(state.reserved_requests)
        except RuntimeError:
            # Celery's other threads change this set while it is copied.
            continue


def create_worker_app(settings: Settings) -> Celery:
    """The app of a worker: the shared configuration, and how messages are taken."""
    app = celery_app(addresses.redis_url(settings))
    app.conf.update(
        worker_pool="threads",
        worker_concurrency=settings.message_threads,
        # A message is acknowledged when its verdicts are stored. Twice as many may be taken as
        # are worked on, since the consumer sleeps while none is left to take (celery 6941).
        task_acks_late=True,
        worker_prefetch_multiplier=_PREFETCH_MULTIPLIER,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # How long Redis is waited for each time; a message comes at once all the same.
        broker_transport_options=app.conf.broker_transport_options
        | {"polling_interval": _WAIT_FOR_MESSAGES_S},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    app.steps["worker"].add(RuntimeStep)
    app.steps["consumer"].add(PrefetchStep)
    app.task(name=SCORE_TASK, bind=True)(score)
    return app


def score(task: Task, *arguments: Any, **options: Any) -> None:
    """The task `captionguard.score`, of one argument; whatever else it is given is kept as refused.

    A message whose rows could not be stored goes back to Redis: nothing else has it.
    """
    runtime: Runtime = task.app.captionguard_runtime
    if runtime.stopping.is_set():
        # The consumer is closed by now, so that this acknowledges nothing: held by nobody, the
        # message is put back or its submissions are sent again within seconds.
        raise Ignore
    is_one = len(arguments) == 1 and not options
    document = arguments[0] if is_one else {"arguments": arguments, "options": options}
    try:
        handle_message(runtime, document, message_id=storable_id(task.request.id))
    except Exception as error:
        log.error("message_failed", message_id=task.request.id, error=type(error).__name__)
        if packed_ids(document) is not None:
            # Its rows are in PostgreSQL, and the reconciler sends them again.
            raise Ignore from error
        # Not at once, or a fault that lasts would keep this worker spinning.
        runtime.stopping.wait(_PUT_BACK_AFTER_S)
        raise Reject(requeue=True) from error


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
