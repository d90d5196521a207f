"""Everything on one machine: embedded servers, tables, a key, and the roles."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import IO, Self

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from moderation import addresses
from moderation.addresses import Addresses
from moderation.errors import ServiceUnavailable, SetupError
from moderation.local import EmbeddedPostgres, EmbeddedRedis
from moderation.review import accounts
from moderation.review.passwords import hash_password, new_password
from moderation.settings import Settings
from moderation.store import database, keys, users, workers
from moderation.store.audit import Actor
from moderation.supervisor import Role, Supervisor, command_of

LOCAL_PLATFORM = "local"
LOCAL_ACCOUNT = "demo"
_READY_TIMEOUT_S = 120.0


class Machine:
    """API, worker and scheduler on this machine, with servers where none are set.

    A context manager: what it started is stopped when the block ends, also the servers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data_dir = settings.data_dir
        self._cleanup = contextlib.ExitStack()
        self._servers: list[EmbeddedPostgres | EmbeddedRedis] = []
        self.supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._cleanup.enter_context(_only_one(self._data_dir))
        database_url = self._embed(
            self._settings.database_url,
            EmbeddedPostgres(self._data_dir / "postgresql"),
        )
        redis_url = self._embed(
            self._settings.redis_url,
            EmbeddedRedis(self._data_dir / "redis"),
        )
        self._database = database.connect(database_url)
        self._cleanup.callback(self._database.dispose)
        database.migrate(self._database)
        _ensure_local_key(self._data_dir, self._database)
        _ensure_local_account(self._data_dir, self._database)
        port = _choose_port(self._settings)
        self.addresses = Addresses(
            pid=os.getpid(),
            database_url=database_url,
            redis_url=redis_url,
            api_url=f"http://{_reachable(self._settings.api_host)}:{port}",
        )
        self.supervisor = Supervisor(
            [Role(name, command_of(name)) for name in ("api", "worker", "scheduler")],
            environment={
                **os.environ,
                "CAPTIONGUARD_DATA_DIR": str(self._data_dir.resolve()),
                "CAPTIONGUARD_DATABASE_URL": database_url,
                "CAPTIONGUARD_REDIS_URL": redis_url,
                "CAPTIONGUARD_API_PORT": str(port),
            },
            log_dir=self._data_dir / "logs",
        )
        self._cleanup.callback(self.supervisor.stop)
        self.supervisor.tend()
        addresses.write_addresses(self._data_dir, self.addresses)
        self._cleanup.callback(addresses.remove_addresses, self._data_dir)

    def _embed(self, given: SecretStr | None, server: EmbeddedPostgres | EmbeddedRedis) -> str:
        if given is not None:
            return given.get_secret_value()
        url = server.start()
        self._servers.append(server)
        self._cleanup.callback(server.stop)
        return url

    def tend(self) -> None:
        """Start again what died: a role or an embedded server."""
        for server in self._servers:
            if not server.is_running():
                server.restart()
        if self.supervisor is not None:
            self.supervisor.tend()

    def wait_until_ready(self, on_step: Callable[[str], None], stop: Event) -> None:
        """Wait until the API answers and a worker beats; tells each as it is reached.

        Returns early when `stop` is set.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        steps = {"the API answers": self._api_answers, "a worker is ready": self._worker_beats}
        for step, is_reached in steps.items():
            while not stop.is_set() and not is_reached():
                self.tend()
                if time.monotonic() > deadline or self._gave_up():
                    raise ServiceUnavailable(
                        f"Not ready ({step}: not yet). See {self._data_dir / 'logs'}, "
                        "or run `captionguard doctor`."
                    )
                stop.wait(0.1)
            if stop.is_set():
                return
            on_step(step)

    def _worker_metrics_urls(self) -> list[str]:
        with self._database.connect() as connection:
            alive = workers.living(connection, lease_s=self._settings.lease_s)
        return [worker.metrics_url for worker in alive if worker.metrics_url]

    def show_addresses(self, console: Console) -> None:
        """Print where the running parts are found."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("API", self.addresses.api_url)
        table.add_row("API docs", f"{self.addresses.api_url}/docs")
        table.add_row("API metrics", f"{self.addresses.api_url}/metrics")
        for url in self._worker_metrics_urls():
            table.add_row("worker metrics", url)
        table.add_row("API key", f"in {self._data_dir / 'api-key'}")
        table.add_row("moderators' desk", f"{self.addresses.api_url}/review")
        if addresses.read_desk_password(self._data_dir) is not None:
            password = f"in {self._data_dir / 'desk-password'}"
            table.add_row(f"password of {LOCAL_ACCOUNT}", password)
        table.add_row("logs", str(self._data_dir / "logs"))
        console.print(table)

    def _gave_up(self) -> bool:
        # A role that dies three times before it was ever ready will not become ready.
        return self.supervisor is not None and max(self.supervisor.restarts().values()) >= 3

    def _api_answers(self) -> bool:
        try:
            return httpx.get(f"{self.addresses.api_url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _worker_beats(self) -> bool:
        with self._database.connect() as connection:
            return bool(workers.living(connection, lease_s=self._settings.lease_s))


def _ensure_local_account(data_dir: Path, engine: Engine) -> None:
    """Make an account for the desk on an empty database: who runs this machine is its admin.

    Once there are people, nothing is made any more: that account may have been disabled.
    """
    with engine.begin() as connection:
        if users.list_all(connection):
            return
        password = new_password()
        accounts.add(
            connection, Actor(f"cli:{LOCAL_ACCOUNT}"), LOCAL_ACCOUNT, users.Role.ADMIN,
            password_hash=hash_password(password, name=LOCAL_ACCOUNT),
        )  # fmt: skip
        # Before the commit: an account whose password nobody knows would be worth nothing.
        addresses.write_desk_password(data_dir, password)


def _ensure_local_key(data_dir: Path, engine: Engine) -> None:
    secret = addresses.read_local_key(data_dir)
    with engine.begin() as connection:
        if secret is None or keys.platform_of(connection, secret) is None:
            addresses.write_local_key(data_dir, keys.add(connection, LOCAL_PLATFORM))


@contextlib.contextmanager
def _only_one(data_dir: Path) -> Iterator[IO[str]]:
    """Hold the data directory: two sets of servers on one folder would ruin it."""
    with (data_dir / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SetupError(
                f"captionguard runs on {data_dir} already. Stop it, or set CAPTIONGUARD_DATA_DIR "
                "to another folder to run a second one beside it."
            ) from error
        yield file


def _choose_port(settings: Settings) -> int:
    wanted = settings.api_port
    if wanted and _is_free(settings.api_host, wanted):
        return wanted
    if wanted and "api_port" in settings.model_fields_set:
        raise SetupError(f"Port {wanted} is taken; set CAPTIONGUARD_API_PORT to another, or to 0.")
    with _listen(settings.api_host, 0) as server:
        return int(server.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    try:
        with _listen(host, port):
            return True
    except OSError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
