"""`captionguard simulate`: a few days through real tables, and nothing of it left behind."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from moderation.simulation.reviewers import Reviewers
from moderation.simulation.traffic import World
from moderation.simulation.year import LAG, Measured, Setup, Year
from moderation.store import database
from moderation.store.ingested import first_id
from tests.conftest import Servers, eventually

FIGURES = {"precision", "recall", "prevalence", "flag_rate"}


def _start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The command in a process of its own, which keeps temporary files in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "moderation", "simulate", *options],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _simulated(servers: Servers, *, seed: int, late: float = 0.0) -> list[Measured]:
    """Two days and their lag on tables of their own, which have then what was measured."""
    url = servers.database()
    engine = database.connect(url)
    people = Reviewers(sensitivity=1, specificity=0.99, late=late, by_priority=True, lag=LAG)
    year = Year(engine, Setup(World(800, 0.2, 0.35), people, days=2, audits_per_day=400, seed=seed))
    measured = [each for of_day in year.run() for each in of_day]
    with engine.connect() as connection:
        stored = connection.execute(
            text(
                "SELECT count(*) FILTER (WHERE outcome = 'flag') AS flags,"
                " count(*) FILTER (WHERE outcome = 'pass') AS passes FROM verdicts"
                " WHERE submission_id < CAST(:end AS uuid)"
            ),
            # Without the day of the lag.
            {"end": first_id(datetime(2020, 1, 3, tzinfo=UTC))},
        ).one()
    engine.dispose()
    servers.drop(url)
    assert (
        sum(each.quality.flags for each in measured),
        sum(each.quality.passes for each in measured),
    ) == tuple(stored)
    return measured


def test_a_simulation_is_one_document_for_tools(tmp_path: Path) -> None:
    """It has the truth, estimates and naive figures by window; no file and no server is left."""
    process = _start(
        tmp_path,
        "--days=3",
        "--posts-per-day=800",
        "--prevalence=0.2",
        "--audits-per-day=100",
        "--json",
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    document = json.loads(out)
    days = document["by_window"]["1d"]["recall"]
    assert document["windows"] == days["windows"] > 0
    assert days["windows"] + days["windows_without_estimate"] == 3
    for name in ("coverage", "bias", "naive_bias", "true", "estimate"):
        assert set(document[name]) == {"recall", "precision"}
    # Of seven passes one is looked at: who counts as if all were finds far too few misses.
    assert document["naive_bias"]["recall"] > 0.02
    assert document["true"]["recall"] == pytest.approx(0.895, abs=1e-3)
    assert document["estimate"]["precision"] == pytest.approx(
        document["true"]["precision"], abs=0.15
    )
    assert set(document["by_window"]) == {"1d", "7d", "28d"}
    assert all(set(rows) == FIGURES for rows in document["by_window"].values())
    assert document["by_window"]["7d"]["recall"]["windows"] == 0
    assert document["settings"]["posts_per_day"] == 800
    assert document["seconds"] > 0
    assert list(tmp_path.glob("captionguard-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_simulation_can_be_ended(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and a polite kill end it without an answer; no file and no server is left."""
    # Whoever runs the tests in the background has Ctrl-C ignored, here and in what is started.
    ignored_or_not = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = _start(tmp_path, "--posts-per-day=500", "--json")
    signal.signal(signal.SIGINT, ignored_or_not)
    pid_files = lambda: list(tmp_path.glob("*/postgresql/postmaster.pid"))  # noqa: E731
    try:
        eventually(lambda: bool(pid_files()) and len(pid_files()[0].read_text().split()) > 3)
        server_pid = int(pid_files()[0].read_text().split()[0])
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert list(tmp_path.glob("captionguard-*")) == []
    with pytest.raises(ProcessLookupError):
        os.kill(server_pid, 0)


def test_a_simulation_that_postgresql_refuses_says_so_in_a_line(tmp_path: Path) -> None:
    """As where verdicts fill the disk: a traceback would say nothing to anybody."""
    process = _start(tmp_path, "--posts-per-day=500", "--json")
    pid_files = lambda: list(tmp_path.glob("*/postgresql/postmaster.pid"))  # noqa: E731
    try:
        eventually(lambda: bool(pid_files()) and "ready" in pid_files()[0].read_text())
        # Its fifth line says where the socket is: elsewhere, if the folder's name is too long.
        socket_folder = pid_files()[0].read_text().splitlines()[4]
        engine = database.connect(f"postgresql://postgres@/postgres?host={socket_folder}")
        with engine.begin() as connection:
            tables = text("SELECT to_regclass('verdicts')")
            eventually(lambda: bool(connection.execute(tables).scalar_one()))
            connection.execute(
                text(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$"
                )
            )
            refuse = "CREATE TRIGGER refuse BEFORE INSERT ON verdicts EXECUTE FUNCTION refuse()"
            connection.execute(text(refuse))
        engine.dispose()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert "captionguard: PostgreSQL does not answer (DiskFull)" in err
    assert "Traceback" not in err


def test_the_same_seed_is_the_same_year(servers: Servers) -> None:
    """A seed draws posts, lots and answers, and what is measured is a matter of these alone."""
    one, same = _simulated(servers, seed=1), _simulated(servers, seed=1)
    assert [each.window_days for each in one] == [1, 1]
    for a, b in zip(one, same, strict=True):
        assert a.by_hand == b.by_hand
        assert a.quality.flags == b.quality.flags
        assert a.quality.found_misses == b.quality.found_misses
        assert a.quality.recall.point == pytest.approx(b.quality.recall.point, rel=1e-12)
        assert a.quality.recall.lower == pytest.approx(b.quality.recall.lower, rel=1e-12)


def test_what_is_answered_late_is_waited_for(servers: Servers) -> None:
    """Fewer answers are known at the lag, of flags and of audits, and estimates say so."""
    in_time, late = _simulated(servers, seed=3), _simulated(servers, seed=3, late=0.3)
    for all_of_it, some in zip(in_time, late, strict=True):
        # The same posts; a second answer, which few cases need, is late as often as a first.
        assert some.quality.flags == all_of_it.quality.flags
        assert some.quality.answered_flags < 0.85 * all_of_it.quality.flags
        assert some.quality.audits < 0.85 * all_of_it.quality.audits
        assert all_of_it.quality.answered_flags > 0.95 * all_of_it.quality.flags
