"""The benchmark's own PostgreSQL, Redis, blob store and workers, in a folder that goes away."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, text

from moderation.errors import ServiceUnavailable
from moderation.local import EmbeddedPostgres, EmbeddedRedis
from moderation.media.blobs import BlobStore
from moderation.queue import QueueClient
from moderation.queue import connect as connect_queue
from moderation.settings import Settings
from moderation.store import database, workers
from moderation.supervisor import command_of, die_with_parent

_START_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A running worker: its process and where it shows its metrics."""

    pid: int
    metrics_url: str


class Rig:
    """Servers for one benchmark; a context manager that takes everything away again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cg-bench-")))
        self.folder = folder
        postgres = EmbeddedPostgres(folder / "postgresql")
        self._database_url = postgres.start()
        self._cleanup.callback(postgres.stop)
        _note_commit_times(self._database_url)
        postgres.stop()
        postgres.restart()
        redis_server = EmbeddedRedis(folder / "redis")
        self.redis_url = redis_server.start()
        self._cleanup.callback(redis_server.stop)
        self.database: Engine = database.connect(self._database_url)
        self._cleanup.callback(self.database.dispose)
        database.migrate(self.database)
        self.queue: QueueClient = connect_queue(self.redis_url)
        self._cleanup.callback(self.queue.redis.close)
        self._cleanup.callback(self.queue.app.close)
        self.blobs = BlobStore(
            (folder / "blobs").as_uri(), max_bytes=self._settings.max_image_bytes
        )

    @contextmanager
    def workers(
        self, number: int, calibration: Path, environment: Mapping[str, str]
    ) -> Iterator[list[WorkerProcess]]:
        """So many real workers on these servers, all of them ready to take messages."""
        environment = {
            "CAPTIONGUARD_DATA_DIR": str(self.folder),
            "CAPTIONGUARD_DATABASE_URL": self._database_url,
            "CAPTIONGUARD_REDIS_URL": self.redis_url,
            "CAPTIONGUARD_BLOB_URL": (self.folder / "blobs").as_uri(),
            "CAPTIONGUARD_CALIBRATION_FILE": str(calibration),
            "CAPTIONGUARD_METRICS_PORT": "0",
            "CAPTIONGUARD_LOG_FORMAT": "json",
            **environment,
        }
        with ExitStack() as stack:
            ready = []
            # One after the other: each measures what it computes with, and not its neighbours.
            for each in range(1, number + 1):
                log_name = f"worker {each}.log"
                process = stack.enter_context(
                    self._process(command_of("worker"), log_name, environment)
                )
                ready.append(self._when_ready(process, log_name))
            yield ready

    def _when_ready(self, process: "subprocess.Popen[bytes]", log_name: str) -> WorkerProcess:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            with self.database.connect() as connection:
                alive = workers.living(connection, lease_s=self._settings.lease_s)
            for worker in alive:
                if worker.pid == process.pid and worker.metrics_url:
                    return WorkerProcess(process.pid, worker.metrics_url)
            self.check(process, log_name, deadline_s)
            time.sleep(0.1)

    @contextmanager
    def naive_worker(self, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
        """The Celery worker that one would write first, on the same Redis."""
        command = [sys.executable, "-m", "celery", "-A", "workers.bench.naive", "worker"]
        with self._process(
            [*command, "--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle"],
            "naive.log",
            {"CAPTIONGUARD_BENCH_REDIS_URL": self.redis_url, **environment},
        ) as process:
            yield process

    @contextmanager
    def _process(
        self, command: list[str], log_name: str, environment: Mapping[str, str]
    ) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.folder / log_name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                env={**_inherited(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self, process: "subprocess.Popen[bytes]", log_name: str, deadline_s: float) -> None:
        """Raise with the end of its log when a process is dead or the deadline over."""
        if process.poll() is None and time.monotonic() < deadline_s:
            return
        tail = (self.folder / log_name).read_text(errors="replace")[-2000:]
        raise ServiceUnavailable(f"The benchmark's {log_name[:-4]} is not ready:\n{tail}")


def _inherited() -> dict[str, str]:
    # What a run before has left in a shared cache would be taken for speed.
    return {k: v for k, v in os.environ.items() if k != "CAPTIONGUARD_EMBEDDING_CACHE_URL"}


def _note_commit_times(url: str) -> None:
    """Let PostgreSQL keep when each transaction was committed, to the microsecond."""
    engine = database.connect(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
    engine.dispose()
