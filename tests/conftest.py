"""Real servers for all tests: PostgreSQL and Redis embedded, an API over HTTP, a whole machine."""

import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from moderation.addresses import read_local_key
from moderation.api.app import server_of
from moderation.local import EmbeddedPostgres, EmbeddedRedis
from moderation.settings import Settings
from moderation.store import database, keys
from moderation.wiring import Services, open_services

_numbers = itertools.count()


def eventually(check: Callable[[], bool], *, within_s: float = 60.0) -> None:
    """Wait until `check` holds; fail the test when it does not in time."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, f"did not happen within {within_s} s"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _limits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decoding sets in this process is undone: it would refuse the next test's images."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@dataclass(frozen=True)
class Servers:
    """URLs of the embedded servers; each database is one's own."""

    postgres_url: str
    redis_url: str

    def database(self) -> str:
        """The URL of a fresh database with all tables: a copy of one takes a third of the time."""
        return self._create(f"TEMPLATE {self._migrated}")

    def empty_database(self) -> str:
        """The URL of a database without tables."""
        return self._create("")

    @functools.cached_property
    def _migrated(self) -> str:
        url = self.empty_database()
        engine = database.connect(url)
        database.migrate(engine)
        engine.dispose()
        return str(make_url(url).database)

    def _create(self, options: str) -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self._admin() as connection:
            connection.execute(text(f"CREATE DATABASE {name} {options}"))
        return self.postgres_url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        """Drop a database: a thousand of them would fill a disk."""
        with self._admin() as connection:
            connection.execute(text(f"DROP DATABASE {make_url(url).database} WITH (FORCE)"))

    @contextlib.contextmanager
    def _admin(self) -> Iterator[Connection]:
        admin = create_engine(self.postgres_url.replace("postgresql://", "postgresql+psycopg://"))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
        admin.dispose()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and Redis for the whole session."""
    folder = tmp_path_factory.mktemp("servers")
    postgres, redis_server = EmbeddedPostgres(folder / "pg"), EmbeddedRedis(folder / "redis")
    try:
        yield Servers(postgres.start(), redis_server.start())
    finally:
        redis_server.stop()
        postgres.stop()
        shutil.rmtree(folder)


@pytest.fixture
def settings(servers: Servers, tmp_path: Path) -> Iterator[Settings]:
    """Settings with empty tables, an empty Redis and an empty data directory."""
    database_url = servers.database()
    yield Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        redis_url=servers.redis_url,
        fetch_allow_private=True,
        metrics_port=0,
    )
    servers.drop(database_url)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """Services on migrated tables."""
    opened = open_services(settings)
    opened.queue.redis.flushall()
    database.migrate(opened.database)
    yield opened
    opened.close()


@dataclass(frozen=True)
class Api:
    """A running API with a key of the platform `acme`."""

    http: httpx.Client
    url: str
    services: Services


@contextlib.contextmanager
def serve_api(services: Services, *, platform: str = "acme") -> Iterator[Api]:
    """The API in this process, on a real port, over these services."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    server = server_of(services, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    url = f"http://127.0.0.1:{port}"
    with services.database.begin() as connection:
        key = keys.add(connection, platform)
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as http:
        try:
            yield Api(http, url, services)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def api(services: Services) -> Iterator[Api]:
    """A running API without any worker."""
    with serve_api(services) as running:
        yield running


class Machine:
    """A running `captionguard up`, with its own data directory."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.environment = {
            **os.environ,
            "CAPTIONGUARD_DATA_DIR": str(data_dir),
            "CAPTIONGUARD_API_PORT": "0",
            "CAPTIONGUARD_METRICS_PORT": "0",
            "CAPTIONGUARD_SCHEDULER_METRICS_PORT": "0",
            "CAPTIONGUARD_FETCH_ALLOW_PRIVATE": "true",
            "CAPTIONGUARD_RETRY_BASE_S": "0.2",
            "CAPTIONGUARD_MAX_ATTEMPTS": "4",
            **environment,
        }
        data_dir.mkdir(parents=True, exist_ok=True)
        with (data_dir / "up.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moderation", "up"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._is_up, within_s=120)
        except BaseException:
            self.process.terminate()
            self.process.wait(60)
            raise
        self.addresses = json.loads((data_dir / "addresses.json").read_text())
        self.http = httpx.Client(
            base_url=self.addresses["api_url"],
            headers={"Authorization": f"Bearer {read_local_key(data_dir)}"},
            timeout=120,
            trust_env=False,
        )
        self.database: Engine = database.connect(self.addresses["database_url"])

    def _is_up(self) -> bool:
        log = (self.data_dir / "up.log").read_text()
        assert self.process.poll() is None, log
        return "Ctrl-C stops everything" in log

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `captionguard` command against this machine."""
        done = subprocess.run(
            [sys.executable, "-m", "moderation", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def query(self, sql: str, **parameters: object) -> list[tuple[object, ...]]:
        """Rows of a query on the machine's database."""
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), parameters)]

    def worker_pid(self) -> int:
        """The process id of the worker that beat last."""
        return int(str(self.query("SELECT pid FROM workers ORDER BY beat_at DESC LIMIT 1")[0][0]))

    def stop(self) -> None:
        """Press Ctrl-C and wait for the end."""
        self.http.close()
        self.database.dispose()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Everything on one machine, with the bundled model, for the whole session."""
    # Which of the passes are audited is a matter of chance, and no test is to be one.
    running = Machine(tmp_path_factory.mktemp("machine"), CAPTIONGUARD_AUDIT_BUDGET_PER_DAY="0")
    yield running
    running.stop()
