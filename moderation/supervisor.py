"""Starts the roles as child processes and starts again, with backoff, what died."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
# A role that ran so long was well; its next death starts the backoff anew.
_WELL_AFTER_S = 30.0
_STOP_TIMEOUT_S = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Role:
    """One child process: a name and the command line that runs it."""

    name: str
    command: Sequence[str]


def command_of(role: str) -> list[str]:
    """The command line of one of our own roles, with this very Python."""
    return [sys.executable, "-m", "moderation", role]


class _Child:
    def __init__(self, role: Role, environment: Mapping[str, str], log_file: Path) -> None:
        self.role = role
        self._environment = environment
        self._log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._backoff_s = _FIRST_BACKOFF_S
        self._start_after_s = 0.0
        self.restarts = -1

    def tend(self) -> None:
        """Start the process if it is due; note its death and when to start it again."""
        now_s = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if now_s - self._started_s > _WELL_AFTER_S:
                self._backoff_s = _FIRST_BACKOFF_S
            log.warning(
                "role_died",
                role=self.role.name,
                status=self.process.returncode,
                starts_again_in_s=self._backoff_s,
                log=str(self._log_file),
            )
            self._start_after_s = now_s + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)
            self.process = None
        if self.process is None and now_s >= self._start_after_s:
            self._start()

    def _start(self) -> None:
        with self._log_file.open("ab") as log_file:
            self.process = subprocess.Popen(  # noqa: S603 - our own commands
                self.role.command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                # Ctrl-C reaches the supervisor alone, which stops the roles in order.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._started_s = time.monotonic()
        self.restarts += 1


def die_with_parent() -> None:
    """Ask the kernel to end this child when the supervisor is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keeps a set of roles running until `stop`."""

    def __init__(
        self, roles: Sequence[Role], *, environment: Mapping[str, str], log_dir: Path
    ) -> None:
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._children = [_Child(role, environment, log_dir / f"{role.name}.log") for role in roles]

    def tend(self) -> None:
        """Start what is not running and is due; call it about every second."""
        for child in self._children:
            child.tend()

    def pids(self) -> dict[str, int]:
        """The process id of each role that runs."""
        return {
            child.role.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def restarts(self) -> dict[str, int]:
        """How often each role was started again."""
        return {child.role.name: max(child.restarts, 0) for child in self._children}

    def stop(self) -> None:
        """Ask all roles to finish, then end those that do not."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
