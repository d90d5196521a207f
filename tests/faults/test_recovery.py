"""What is killed or emptied in the middle costs time, never a verdict."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from sqlalchemy import text

from moderation.addresses import database_url, redis_url
from moderation.demo.posts import stream
from moderation.queue import QUEUE, celery_app
from moderation.wiring import Services
from tests.conftest import Machine, eventually

POSTS = 384


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine of its own for each test, since each breaks it."""
    running = Machine(tmp_path_factory.mktemp("faults"))
    yield running
    running.stop()


def submit(machine: Machine) -> list[str]:
    """Hand in generated posts in messages of 64; their ids."""
    ids = []
    posts = list(stream(21, POSTS))
    for start in range(0, POSTS, 64):
        batch = [
            {"caption": post.caption, "image_base64": base64.b64encode(post.image).decode()}
            for post in posts[start : start + 64]
        ]
        answer = machine.http.post("/v1/submissions/batch", json={"submissions": batch})
        ids += [item["id"] for item in answer.json()["submissions"]]
    return ids


def count(machine: Machine, table: str) -> int:
    """Rows of a table."""
    return int(str(machine.query(f"SELECT count(*) FROM {table}")[0][0]))  # noqa: S608 - our own


def check_all_judged_once(machine: Machine, ids: list[str], *, within_s: float) -> None:
    """Every submission gets a verdict in time, and exactly one canonical log line."""
    eventually(lambda: count(machine, "verdicts") == len(ids), within_s=within_s)
    unscorable = machine.query("SELECT reason FROM verdicts WHERE outcome = 'unscorable'")
    assert unscorable == []
    log = (machine.data_dir / "logs" / "worker.log").read_text()
    # Not parsed: a worker that is killed while it writes may leave half a line.
    told = re.findall(r'^\{"id":"([0-9a-f-]{36})".*"event":"submission"', log, re.MULTILINE)
    # A worker that is killed between storing and telling leaves out lines, but none is twice.
    assert told
    assert len(told) == len(set(told))


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and was not collected yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def beats(machine: Machine) -> set[Any]:
    """The workers that have ever beaten and not left."""
    return {id_ for (id_,) in machine.query("SELECT id FROM workers")}


def test_a_killed_worker(machine: Machine) -> None:
    """After kill -9 of the worker, all verdicts are there soon after a new one beats."""
    old = beats(machine)
    pid = machine.worker_pid()
    ids = submit(machine)
    eventually(lambda: count(machine, "verdicts") > 0)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: bool(beats(machine) - old))
    check_all_judged_once(machine, ids, within_s=60)


def test_a_worker_killed_with_claimed_work(machine: Machine) -> None:
    """Submissions that a dead worker had leased are sent again, and only then."""
    pid = machine.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    ids = submit(machine)
    os.kill(pid, signal.SIGCONT)
    eventually(
        lambda: bool(machine.query("SELECT 1 FROM submissions WHERE lease_worker IS NOT NULL"))
    )
    os.kill(pid, signal.SIGKILL)
    check_all_judged_once(machine, ids, within_s=60)


def test_an_emptied_redis(machine: Machine) -> None:
    """After FLUSHALL with messages waiting and taken, everything gets its verdict."""
    pid = machine.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    ids = submit(machine)
    redis.Redis.from_url(machine.addresses["redis_url"]).flushall()
    os.kill(pid, signal.SIGCONT)
    check_all_judged_once(machine, ids, within_s=60)
    sent_again = (machine.data_dir / "logs" / "scheduler.log").read_text()
    assert "sent_again" in sent_again


def test_a_worker_that_hangs_and_wakes(machine: Machine) -> None:
    """A worker that slept past its lease and wakes up stores no second verdict."""
    pid = machine.worker_pid()
    ids = submit(machine)
    eventually(lambda: count(machine, "verdicts") > 0)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(7)
    with (machine.data_dir / "logs" / "worker.log").open("ab") as log:
        second = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers.app", "worker"],
            env=machine.environment,
            stderr=log,
            stdout=subprocess.DEVNULL,
        )
    try:
        eventually(lambda: len(beats(machine)) == 2)
        os.kill(pid, signal.SIGCONT)
        check_all_judged_once(machine, ids, within_s=60)
    finally:
        second.terminate()
        second.wait(30)
    assert second.returncode == 0, "a worker that is asked to stop ends in good order"


def test_a_database_that_restarts(machine: Machine) -> None:
    """PostgreSQL going away for a moment is waited out by every role."""
    ids = submit(machine)
    pid_file = machine.data_dir / "postgresql" / "postmaster.pid"
    before = pid_file.read_text().split()[0]
    os.kill(int(before), signal.SIGINT)

    def is_another_one() -> bool:
        return pid_file.exists() and pid_file.read_text().split()[:1] != [before]

    eventually(is_another_one)
    eventually(lambda: machine.http.get("/readyz").status_code == 200)
    machine.database.dispose()
    check_all_judged_once(machine, ids, within_s=90)


def test_a_redis_that_dies(machine: Machine) -> None:
    """Redis is started again and carries on; what it lost is sent again."""
    ids = submit(machine)
    client = redis.Redis.from_url(machine.addresses["redis_url"])
    os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
    check_all_judged_once(machine, ids, within_s=90)


def direct(machine: Machine, platform: str, messages: int, items: int, url: str) -> None:
    """Send messages as a platform does, without the API."""
    with celery_app(machine.addresses["redis_url"]) as app:
        for message in range(messages):
            submissions = [
                {"caption": "a secret caption", "image_url": url, "external_id": f"{message}-{n}"}
                for n in range(items)
            ]
            app.send_task(
                "captionguard.score",
                args=[{"platform": platform, "submissions": submissions}],
                queue=QUEUE,
            )


def test_direct_messages_that_a_dead_worker_had_taken(machine: Machine) -> None:
    """Messages without rows, taken and not begun, are put back when their worker is dead."""
    client = redis.Redis.from_url(machine.addresses["redis_url"])
    # A host that never answers, so that the worker holds as many messages as it may.
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.jpg?sign=secret"
        direct(machine, "acme", messages=300, items=2, url=url)
        eventually(lambda: int(client.hlen("unacked")) >= 256)
        assert count(machine, "submissions") < 2 * 256, "some are taken and not begun"
        os.kill(machine.worker_pid(), signal.SIGKILL)
    eventually(lambda: count(machine, "submissions") == 600)
    eventually(lambda: count(machine, "verdicts") == 600)
    log = (machine.data_dir / "logs" / "worker.log").read_text()
    assert "a secret caption" not in log
    assert "sign=secret" not in log


def test_direct_messages_while_nothing_can_be_written(machine: Machine) -> None:
    """A database that only reads, as after a failover, costs time and no message."""
    with machine.database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        direct(machine, "acme", messages=3, items=5, url="http://127.0.0.1:10009/a.jpg")
        log = machine.data_dir / "logs" / "worker.log"
        eventually(lambda: "database_retry" in log.read_text())
        assert count(machine, "submissions") == 0
        connection.exec_driver_sql("ALTER SYSTEM RESET default_transaction_read_only")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    eventually(lambda: count(machine, "verdicts") == 15)


def test_a_killed_supervisor(tmp_path: Path) -> None:
    """When `captionguard up` itself is killed, its roles and Redis end, and it can start again."""
    killed = Machine(tmp_path / "data")
    roles = psutil.Process(killed.process.pid).children(recursive=True)
    submit(killed)
    killed.process.kill()
    killed.process.wait()
    eventually(lambda: not any(lives(process) for process in roles))
    again = Machine(tmp_path / "data")
    try:
        eventually(lambda: count(again, "verdicts") == POSTS)
    finally:
        again.stop()
        killed.http.close()
        killed.database.dispose()


def test_every_role_is_started_again(machine: Machine) -> None:
    """API, worker and scheduler come back after kill -9."""
    log = machine.data_dir / "up.log"
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(machine.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    roles = [line.split()[0] for line in children.splitlines() if "-m moderation" in line]
    assert len(roles) == 3
    for pid in roles:
        os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: log.read_text().count("role_died") == 3)

    def answers() -> bool:
        try:
            return machine.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    eventually(answers)
    check_all_judged_once(machine, submit(machine), within_s=90)


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    """Ctrl-C ends every process that was started, and what was submitted is judged next time."""
    running = Machine(tmp_path / "data")
    try:
        submit(running)
        postmaster = (tmp_path / "data" / "postgresql" / "postmaster.pid").read_text().split()[0]
        family = [psutil.Process(running.process.pid), psutil.Process(int(postmaster))]
        started = [child for parent in family for child in parent.children(recursive=True)]
        names = " ".join(" ".join(process.cmdline()) for process in [*family, *started])
        for part in ("moderation api", "worker", "scheduler", "redis-server", "media.child"):
            assert part in names
    finally:
        running.stop()
    assert running.process.returncode == 0
    assert [process for process in [*family, *started] if lives(process)] == []
    assert not (tmp_path / "data" / "addresses.json").exists()
    again = Machine(tmp_path / "data")
    try:
        eventually(lambda: count(again, "verdicts") == POSTS)
    finally:
        again.stop()


def test_connections_that_die_while_a_model_is_loaded(services: Services, tmp_path: Path) -> None:
    """A worker that comes back to PostgreSQL after minutes asks again, and does not end."""
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers.app", "worker"],
            env={
                **os.environ,
                "CAPTIONGUARD_DATA_DIR": str(services.settings.data_dir),
                "CAPTIONGUARD_DATABASE_URL": database_url(services.settings),
                "CAPTIONGUARD_REDIS_URL": redis_url(services.settings),
                "CAPTIONGUARD_METRICS_PORT": "0",
            },
            stderr=log,
            stdout=subprocess.DEVNULL,
        )

    def kill_idle() -> bool:
        with services.database.begin() as connection:
            killed = connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid != pg_backend_pid() "
                    "AND state_change < now() - interval '0.3 s'"
                )
            )
            return bool(killed.all())

    try:
        eventually(kill_idle)
        eventually(lambda: '"worker_ready"' in (tmp_path / "worker.log").read_text())
    finally:
        worker.terminate()
        worker.wait(30)
