"""A real Prometheus server reads what the roles show."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conftest import Machine, eventually


def test_prometheus_scrapes_every_role(machine: Machine, tmp_path: Path) -> None:
    """API, worker and scheduler are up for Prometheus, and their metrics can be queried."""
    server = shutil.which("prometheus")
    if server is None:
        assert os.environ.get("CI") != "true", "CI must have prometheus"
        pytest.skip("prometheus is not installed")
    scheduler = next(
        line.split('"url": "')[1].split('"')[0]
        for line in (machine.data_dir / "logs" / "scheduler.log").read_text().splitlines()
        if "scheduler_ready" in line
    )
    worker = str(machine.query("SELECT metrics_url FROM workers")[0][0])
    targets = {
        "api": machine.addresses["api_url"],
        "worker": worker,
        "scheduler": scheduler,
    }
    jobs = [
        {
            "job_name": name,
            "static_configs": [{"targets": [httpx.URL(url).netloc.decode()]}],
        }
        for name, url in targets.items()
    ]
    config = tmp_path / "prometheus.yml"
    # JSON is YAML.
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                server,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:

        def ask(query: str) -> list[dict[str, object]]:
            try:
                answer = httpx.get(
                    f"http://127.0.0.1:{port}/api/v1/query",
                    params={"query": query},
                    trust_env=False,
                )
                found: list[dict[str, object]] = answer.json()["data"]["result"]
            except (httpx.HTTPError, ValueError, KeyError):
                return []
            return found

        eventually(lambda: len(ask("up == 1")) == 3)
        eventually(lambda: bool(ask("captionguard_living_workers == 1")))
        eventually(lambda: bool(ask("captionguard_batch_items_count >= 0")))
        eventually(lambda: bool(ask('captionguard_sent_again_total{why="lost"} >= 0')))
        eventually(lambda: bool(ask('captionguard_drift_items{window="1d"} >= 0')))
    finally:
        process.terminate()
        process.wait(30)
