"""Schedulers that are killed while they deliver: everything arrives all the same."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from moderation.settings import Settings
from moderation.wiring import Services
from tests.conftest import eventually
from tests.integration.platform import Platform, Received, Reply, add_endpoint, judge, states

TIMEOUT_S = 2.0
AT_ONCE = 16


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let webhooks reach this machine."""
    return settings.model_copy(
        update={"webhook_allow_private": True, "webhook_timeout_s": TIMEOUT_S}
    )


@contextmanager
def scheduler(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real scheduler's process on these settings, killed at the end if it still runs."""
    assert settings.database_url is not None
    assert settings.redis_url is not None
    environment = {
        **os.environ,
        "CAPTIONGUARD_DATA_DIR": str(settings.data_dir),
        "CAPTIONGUARD_DATABASE_URL": settings.database_url.get_secret_value(),
        "CAPTIONGUARD_REDIS_URL": settings.redis_url.get_secret_value(),
        "CAPTIONGUARD_SCHEDULER_METRICS_PORT": "0",
        "CAPTIONGUARD_WEBHOOK_ALLOW_PRIVATE": "true",
        "CAPTIONGUARD_WEBHOOK_TIMEOUT_S": str(TIMEOUT_S),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moderation", "scheduler"],
            env=environment,
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)


def test_what_a_killed_scheduler_had_in_hand_is_delivered(
    services: Services, tmp_path: Path
) -> None:
    """Killed while the platform thinks: the next scheduler sends it again, under the same id."""
    asked, killed = threading.Event(), threading.Event()

    def reply(_: Received) -> Reply:
        asked.set()
        killed.wait(60)
        return Reply()

    with Platform().serving() as platform:
        _, secret = add_endpoint(services, platform.url)
        platform.reply = reply
        judge(services)
        with scheduler(services.settings, tmp_path / "first.log") as first:
            assert asked.wait(60)
            first.kill()
            first.wait(60)
        killed.set()
        assert states(services) == {"pending": 1}
        with scheduler(services.settings, tmp_path / "second.log"):
            eventually(lambda: states(services) == {"delivered": 1})
        assert len(platform.received) >= 2
        assert len({received.id for received in platform.received}) == 1
        assert platform.received[-1].verified(secret)["type"] == "verdict.created"
        logs = [(tmp_path / name).read_text() for name in ("first.log", "second.log")]
        assert all("scheduler_ready" in log and secret not in log for log in logs)


def test_one_of_two_schedulers_is_killed_amid_many(services: Services, tmp_path: Path) -> None:
    """All arrive, and only what was in the killed one's hands arrives twice."""
    count = 400
    with Platform().serving() as platform:
        add_endpoint(services, platform.url)
        with (
            scheduler(services.settings, tmp_path / "a.log") as first,
            scheduler(services.settings, tmp_path / "b.log"),
        ):
            for name in ("a.log", "b.log"):
                eventually(lambda: "scheduler_ready" in (tmp_path / name).read_text())  # noqa: B023
            judge(services, count // 2)
            judge(services, count // 2)
            eventually(lambda: len(platform.received) > count // 10)
            first.kill()
            eventually(lambda: states(services) == {"delivered": count})
        times = Counter(received.id for received in platform.received)
    assert len(times) == count
    assert max(times.values()) <= 2
    assert sum(times.values()) - count <= AT_ONCE


def test_a_database_that_goes_away_costs_time_only(services: Services, tmp_path: Path) -> None:
    """Every connection is cut in the middle of it: what follows is delivered as well."""
    with Platform().serving() as platform:
        add_endpoint(services, platform.url)
        with scheduler(services.settings, tmp_path / "log"):
            judge(services, 100)
            eventually(lambda: len(platform.received) > 10)
            with services.database.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            judge(services, 100)
            eventually(lambda: states(services) == {"delivered": 200})
        assert len({received.id for received in platform.received}) == 200
