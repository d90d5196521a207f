"""The scheduler's watch: on /metrics of a running scheduler, of one only, in nobody's way."""

import contextlib
import datetime as dt
import math
import threading
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from moderation.metrics import DriftMetrics, serve_metrics
from moderation.queue import QUEUE
from moderation.settings import Settings
from moderation.store import calibrations
from moderation.store.calibrations import Stored
from moderation.wiring import Services
from tests.conftest import eventually
from tests.integration.test_reconciler import submit
from tests.integration.traffic import Past, an_artifact, store
from workers.upkeep import run_scheduler
from workers.watch import Watch

LIVE = an_artifact()
GAUGES = (
    "drift_psi",
    "drift_psi_by_chance",
    "drift_wasserstein",
    "drift_items",
    "flag_rate",
    "unscorable_rate",
    "caption_truncated_rate",
    "models",
)


@pytest.fixture
def services(services: Services) -> Services:
    """Services of a scheduler that looks ten times a second."""
    settings = services.settings.model_copy(
        update={"watch_every_s": 0.1, "lost_after_s": 0.5, "scheduler_metrics_port": 0}
    )
    return Services(settings, services.database, services.queue, services.blobs, services.metrics)


@pytest.fixture
def traffic(services: Services) -> None:
    """Verdicts of the last hours by a published calibration; the last hour's have drifted."""
    rng = np.random.default_rng(0)
    past = []
    for number in range(4000):
        is_mismatch, has_drifted = number % 10 == 0, number < 1200
        cosine = rng.normal(0.08, 0.07) if is_mismatch else rng.normal(0.36, 0.03)
        past.append(
            Past(
                float(cosine - 0.04 * has_drifted),
                "flag" if is_mismatch else "pass",
                LIVE.fingerprint,
                dt.timedelta(minutes=30 if has_drifted else 120),
                version=LIVE.version,
                notes=["caption_truncated"] if number % 4 == 0 else [],
            )
        )
    past += [Past(None, "unscorable", LIVE.fingerprint, dt.timedelta(minutes=30))] * 300
    past.append(Past(0.3, "pass", "another-model", dt.timedelta(minutes=120)))
    with services.database.begin() as connection:
        store(connection, past, now=dt.datetime.now(dt.UTC))
        kept = Stored(LIVE.version, LIVE.fingerprint, LIVE.model_dump_json())
        calibrations.keep(connection, kept)


@contextlib.contextmanager
def running(target: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=target, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def scheduler(services: Services) -> Callable[[threading.Event], None]:
    """A scheduler, to be run."""
    return lambda stop: run_scheduler(services, stop, metrics_url="")


def gauge(registry: CollectorRegistry, name: str, window: str = "1h") -> float | None:
    """What a gauge shows; None while it is not there."""
    return registry.get_sample_value(f"captionguard_{name}", {"window": window})


def shows(registry: CollectorRegistry) -> bool:
    """Whether drift of both windows is shown."""
    values = [gauge(registry, "drift_psi", window) for window in ("1h", "1d")]
    return all(value is not None and not math.isnan(value) for value in values)


def is_blind(registry: CollectorRegistry) -> bool:
    """Whether every gauge is NaN."""
    values = [gauge(registry, name, window) for name in GAUGES for window in ("1h", "1d")]
    return all(value is not None and math.isnan(value) for value in values)


@pytest.mark.usefixtures("traffic")
def test_a_running_scheduler_shows_what_it_sees(services: Services) -> None:
    """On /metrics: an hour that drifted within a day that hardly did, and all rates."""
    url = serve_metrics(
        services.settings, services.metrics.registry, setting="scheduler_metrics_port"
    )
    with running(scheduler(services)):
        eventually(lambda: shows(services.metrics.registry))
        page = httpx.get(url, trust_env=False).text
    said = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in page.splitlines()
        if line.startswith("captionguard_") and "window=" in line
    }
    hour = {name: said[f'captionguard_{name}{{window="1h"}}'] for name in GAUGES}
    day = {name: said[f'captionguard_{name}{{window="1d"}}'] for name in GAUGES}
    assert hour["drift_items"] == 1200
    assert day["drift_items"] == 4000
    assert hour["drift_psi"] > 0.25 > day["drift_psi"]
    assert hour["drift_wasserstein"] > day["drift_wasserstein"] > 0
    assert 0 < day["drift_psi_by_chance"] < hour["drift_psi_by_chance"] < 0.02
    assert hour["flag_rate"] == pytest.approx(120 / 1500)
    assert hour["unscorable_rate"] == pytest.approx(300 / 1500)
    assert hour["caption_truncated_rate"] == pytest.approx(300 / 1500)
    assert (hour["models"], day["models"]) == (1, 2)


def test_few_verdicts_say_nothing(services: Services) -> None:
    """Below a thousand there are counts, and no rates and no drift."""
    with services.database.begin() as connection:
        few = [Past(0.3, "flag", LIVE.fingerprint, version=LIVE.version)] * 999
        store(connection, few, now=dt.datetime.now(dt.UTC))
    registry = services.metrics.registry
    with running(scheduler(services)):
        eventually(lambda: gauge(registry, "drift_items", "1d") == 999)
        for name in ("drift_psi", "flag_rate", "unscorable_rate", "caption_truncated_rate"):
            assert math.isnan(gauge(registry, name, "1d") or 0.0)


@pytest.mark.usefixtures("traffic")
def test_one_of_two_watches(services: Services) -> None:
    """The second shows nothing at all, until the first is gone."""

    def a_watch() -> tuple[CollectorRegistry, Watch]:
        registry = CollectorRegistry()
        watch = Watch(services.database, services.settings, DriftMetrics(registry))
        return registry, watch

    (first, one), (second, other) = a_watch(), a_watch()
    assert is_blind(first)
    with running(one.run) as stop_one:
        eventually(lambda: shows(first))
        with running(other.run):
            # Ten tries to get the lock.
            threading.Event().wait(1.0)
            assert is_blind(second)
            assert shows(first)
            stop_one.set()
            eventually(lambda: is_blind(first) and shows(second))


@pytest.mark.usefixtures("traffic")
def test_nothing_that_happens_to_the_watch_reaches_the_reconciler(services: Services) -> None:
    """While its queries fail, and while they hang, what was lost is sent again as ever."""
    registry, queue = services.metrics.registry, services.queue.redis

    def loses_and_finds() -> None:
        submit(services)
        queue.flushall()
        eventually(lambda: queue.llen(QUEUE) == 1)
        with services.database.begin() as connection:
            connection.exec_driver_sql("UPDATE submissions SET done_at = now()")
        queue.flushall()

    with running(scheduler(services)):
        eventually(lambda: shows(registry))
        with services.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE verdicts RENAME TO elsewhere")
        eventually(lambda: is_blind(registry))
        loses_and_finds()
        with services.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO verdicts")
        eventually(lambda: shows(registry))
        with services.database.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE verdicts IN ACCESS EXCLUSIVE MODE")
            loses_and_finds()
        eventually(lambda: shows(registry))


def test_an_unreadable_calibration_file_hides_no_rates(
    services: Services, settings: Settings
) -> None:
    """Without the calibration of the verdicts there is no drift, and all else there is."""
    nowhere = services.settings.model_copy(
        update={"calibration_file": settings.data_dir / "nowhere.json"}
    )
    with services.database.begin() as connection:
        past = [Past(0.3, "flag", LIVE.fingerprint, version=LIVE.version)] * 1000
        store(connection, past, now=dt.datetime.now(dt.UTC))
    registry = CollectorRegistry()
    with running(Watch(services.database, nowhere, DriftMetrics(registry)).run):
        eventually(lambda: gauge(registry, "flag_rate", "1d") == 1.0)
        assert math.isnan(gauge(registry, "drift_psi", "1d") or 0.0)
