"""A real Prometheus server, Debian's, that scrapes a machine's roles as the shipped file says."""

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import Machine

_DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def ask(self, query: str) -> dict[frozenset[tuple[str, str]], float]:
        """The series that a query finds, by their labels; none while the server starts."""
        try:
            answer = httpx.get(
                f"{self.url}/api/v1/query", params={"query": query}, trust_env=False
            ).json()
        except (httpx.HTTPError, ValueError):
            return {}
        assert answer["status"] == "success", answer
        return {
            frozenset(series["metric"].items()): float(series["value"][1])
            for series in answer["data"]["result"]
        }

    def number(self, query: str) -> float:
        """The one value that a query finds; NaN where it finds none."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return next(iter(found.values()), math.nan)


@contextlib.contextmanager
def scraping(machine: Machine, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the shipped jobs and rules, at the machine's addresses, every second."""
    server = shutil.which("prometheus")
    if server is None:
        assert os.environ.get("CI") != "true", "CI must have prometheus"
        pytest.skip("prometheus is not installed")
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(machine)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                server,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _config(machine: Machine) -> dict[str, object]:
    scheduler = next(
        json.loads(line)["url"]
        for line in (machine.data_dir / "logs" / "scheduler.log").read_text().splitlines()
        if "scheduler_ready" in line
    )
    urls = {
        "captionguard-api": machine.addresses["api_url"],
        "captionguard-worker": str(machine.query("SELECT metrics_url FROM workers")[0][0]),
        "captionguard-scheduler": scheduler,
    }
    shipped = yaml.safe_load((_DEPLOY / "prometheus.yml").read_text())
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(_DEPLOY / pattern) for pattern in shipped["rule_files"]],
        "scrape_configs": [
            {
                "job_name": job["job_name"],
                "static_configs": [{"targets": [httpx.URL(urls[job["job_name"]]).netloc.decode()]}],
            }
            for job in shipped["scrape_configs"]
        ],
    }
