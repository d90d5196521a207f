"""The supervisor keeps real processes running, and ends them all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moderation import supervisor
from moderation.supervisor import Role, Supervisor, command_of

PATIENCE_S = 60
DIES = "print('ran', flush=True); raise SystemExit(3)"
STAYS = "import signal; print('ready', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}"
POLITE = """
import signal, sys
def bye(*_):
    print('bye', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print('ready', flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(supervisor, "_LONGEST_BACKOFF_S", 0.04)


def _role(name: str, program: str) -> Role:
    return Role(name, [sys.executable, "-I", "-S", "-c", program])


@contextmanager
def _supervising(log_dir: Path, **programs: str) -> Iterator[Supervisor]:
    supervising = Supervisor(
        [_role(name, program) for name, program in programs.items()],
        environment={"PATH": os.environ["PATH"], "ROLE_SAYS": "from the environment"},
        log_dir=log_dir,
    )
    try:
        yield supervising
    finally:
        supervising.stop()


def _wait(condition: Callable[[], bool], tend: Callable[[], None] = lambda: None) -> None:
    """Wait until something holds, tending meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        tend()
        time.sleep(0.01)


def _says(path: Path, what: str) -> Callable[[], bool]:
    return lambda: path.exists() and what in path.read_text()


def _is_gone(pid: int) -> bool:
    try:
        # A process that has ended but was not yet waited for does not run any more.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_roles_run_side_by_side_with_their_logs(tmp_path: Path) -> None:
    """Each role is a process of its own, with the environment given and a log of its own."""
    says = "import os; print(os.environ['ROLE_SAYS'], flush=True); "
    with _supervising(tmp_path / "logs", api=says + STAYS, worker=STAYS) as supervising:
        supervising.tend()
        assert set(supervising.pids()) == {"api", "worker"}
        assert len(set(supervising.pids().values())) == 2
        _wait(_says(tmp_path / "logs" / "api.log", "from the environment"))
        _wait(_says(tmp_path / "logs" / "worker.log", "ready"))


def test_what_runs_is_left_alone(tmp_path: Path) -> None:
    """Tending again starts nothing twice."""
    with _supervising(tmp_path, api=STAYS) as supervising:
        supervising.tend()
        pids = supervising.pids()
        for _ in range(5):
            supervising.tend()
        assert supervising.pids() == pids
        assert supervising.restarts() == {"api": 0}


def test_a_role_that_dies_is_started_again(tmp_path: Path) -> None:
    """A role that was killed comes back as a new process; the others do not notice."""
    with _supervising(tmp_path, api=STAYS, worker=STAYS) as supervising:
        supervising.tend()
        before = supervising.pids()
        os.kill(before["worker"], signal.SIGKILL)
        _wait(lambda: supervising.restarts()["worker"] == 1, supervising.tend)
        after = supervising.pids()
        assert after["api"] == before["api"]
        assert after["worker"] != before["worker"]
        assert supervising.restarts() == {"api": 0, "worker": 1}


def test_the_backoff_doubles_up_to_its_limit(tmp_path: Path) -> None:
    """A role that keeps dying is started ever less often, and each start appends to its log."""
    with capture_logs() as events, _supervising(tmp_path, api=DIES) as supervising:
        _wait(lambda: supervising.restarts()["api"] >= 4, supervising.tend)
        _wait(lambda: not supervising.pids())
    deaths = [event for event in events if event["event"] == "role_died"]
    assert [event["starts_again_in_s"] for event in deaths[:4]] == [0.01, 0.02, 0.04, 0.04]
    assert {(event["role"], event["status"]) for event in deaths} == {("api", 3)}
    assert (tmp_path / "api.log").read_text().count("ran") == supervising.restarts()["api"] + 1


def test_a_dead_role_waits_for_its_backoff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its time a role is not started again, however often it is tended."""
    monkeypatch.setattr(supervisor, "_FIRST_BACKOFF_S", 3600.0)
    with capture_logs() as events, _supervising(tmp_path, api=DIES) as supervising:
        _wait(lambda: len(events) > 0, supervising.tend)
        for _ in range(5):
            supervising.tend()
        assert supervising.pids() == {}
        assert supervising.restarts() == {"api": 0}


def test_a_role_that_was_well_starts_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a run that was long enough the backoff begins anew."""
    monkeypatch.setattr(supervisor, "_WELL_AFTER_S", -1.0)
    with capture_logs() as events, _supervising(tmp_path, api=DIES) as supervising:
        _wait(lambda: supervising.restarts()["api"] >= 3, supervising.tend)
    assert {event["starts_again_in_s"] for event in events} == {0.01}


def test_stopping_lets_roles_finish(tmp_path: Path) -> None:
    """A role is asked first: it may finish what it does before it goes."""
    with _supervising(tmp_path, api=POLITE) as supervising:
        supervising.tend()
        _wait(_says(tmp_path / "api.log", "ready"))
        supervising.stop()
        assert "bye" in (tmp_path / "api.log").read_text()
        assert supervising.pids() == {}


def test_stopping_ends_also_those_that_do_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When `stop` returns nothing runs any more, not even a role that ignores SIGTERM."""
    monkeypatch.setattr(supervisor, "_STOP_TIMEOUT_S", 0.2)
    with _supervising(tmp_path, api=STUBBORN, worker=POLITE, dead=DIES) as supervising:
        supervising.tend()
        pids = supervising.pids()
        for name in ("api", "worker"):
            _wait(_says(tmp_path / f"{name}.log", "ready"))
        supervising.stop()
        assert supervising.pids() == {}
        assert all(_is_gone(pid) for pid in pids.values())


def test_stopping_what_never_ran_is_no_fault(tmp_path: Path) -> None:
    """A supervisor that is stopped before it was tended has nothing to do."""
    with _supervising(tmp_path, api=STAYS) as supervising:
        supervising.stop()
        assert supervising.pids() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """A supervisor that gets SIGKILL leaves no role behind."""
    program = f"""
import os, signal, sys
from pathlib import Path
from moderation.supervisor import Role, Supervisor
roles = [Role(name, [sys.executable, "-I", "-S", "-c", {STAYS!r}]) for name in ("api", "worker")]
supervisor = Supervisor(roles, environment=os.environ, log_dir=Path({str(tmp_path)!r}))
supervisor.tend()
print(*supervisor.pids().values(), flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as supervising:
        try:
            assert supervising.stdout is not None
            pids = [int(pid) for pid in supervising.stdout.readline().split()]
            for name in ("api", "worker"):
                _wait(_says(tmp_path / f"{name}.log", "ready"))
            assert len(pids) == 2
            assert not any(_is_gone(pid) for pid in pids)
        finally:
            supervising.kill()
    _wait(lambda: all(_is_gone(pid) for pid in pids))


def test_our_roles_run_with_this_python() -> None:
    """A role is a command of the very installation that supervises it."""
    command = [*command_of("worker"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "worker" in done.stdout
