"""A real Prometheus server reads what the roles show."""

from pathlib import Path

from tests.acceptance.prometheus import scraping
from tests.conftest import Machine, eventually


def test_prometheus_scrapes_every_role(machine: Machine, tmp_path: Path) -> None:
    """API, worker and scheduler are up for Prometheus, and their metrics can be queried."""
    with scraping(machine, tmp_path) as prometheus:
        eventually(lambda: len(prometheus.ask("up == 1")) == 3)
        for query in (
            "captionguard_living_workers == 1",
            "captionguard_batch_items_count >= 0",
            'captionguard_sent_again_total{why="lost"} >= 0',
            'captionguard_drift_items{window="1d"} >= 0',
        ):
            eventually(lambda query=query: bool(prometheus.ask(query)))  # type: ignore[misc]
