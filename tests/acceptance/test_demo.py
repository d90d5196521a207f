"""`captionguard demo`: what a newcomer sees first."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import eventually


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end on a new data directory."""
    return subprocess.run(
        [sys.executable, "-m", "moderation", "demo", "--once", *arguments],
        env={
            **os.environ,
            "CAPTIONGUARD_DATA_DIR": str(tmp_path / "data"),
            "CAPTIONGUARD_METRICS_PORT": "0",
            "CAPTIONGUARD_SCHEDULER_METRICS_PORT": "0",
            "COLUMNS": "80",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_ends_by_itself_with_every_verdict(tmp_path: Path) -> None:
    """Every post gets exactly one verdict, most are right, and the exit status is 0."""
    done = demo(tmp_path, "--json", "--posts", "60")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["submitted"] == 60
    assert document["outcomes"]["pass"] + document["outcomes"]["flag"] == 60
    assert len({result["id"] for result in document["results"]}) == 60
    assert document["truth"]["accuracy"] > 0.9
    assert document["truth"]["recall"] > 0.9


def test_it_shows_people_a_table(tmp_path: Path) -> None:
    """Image, caption, score, verdict and truth are shown in 80 columns, with the addresses."""
    done = demo(tmp_path, "--posts", "12")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if line.startswith("image"))
    assert header.split() == ["image", "caption", "score", "verdict", "truth"]
    assert sum(line.startswith("scene-") for line in lines) == 12
    for told in ("accuracy", "precision", "recall", "/docs", "/metrics", "/review", "12 posts in"):
        assert told in done.stderr
    # Nobody answers at these addresses any more.
    assert "`captionguard up` starts it again" in lines[-1]
    # An account for the desk, ready to be used, whose password others on the machine cannot read.
    file = tmp_path / "data" / "desk-password"
    assert f"name demo, password {file.read_text().strip()}" in done.stderr
    assert file.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_ends_it_in_the_middle(tmp_path: Path) -> None:
    """An interrupt while posts are judged ends the demo and its processes, with status 1."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moderation", "demo", "--posts", "10000"],
        env={
            **os.environ,
            "CAPTIONGUARD_DATA_DIR": str(tmp_path / "data"),
            "CAPTIONGUARD_METRICS_PORT": "0",
            "CAPTIONGUARD_SCHEDULER_METRICS_PORT": "0",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    worker_log = tmp_path / "data" / "logs" / "worker.log"
    eventually(lambda: worker_log.exists() and '"event":"submission"' in worker_log.read_text())
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1
    assert not any(child.is_running() and child.status() != "zombie" for child in children)
