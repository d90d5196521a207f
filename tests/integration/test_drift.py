"""`captionguard thresholds drift` on stored verdicts."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moderation.settings import Settings
from moderation.store import calibrations, history
from moderation.store.calibrations import Stored
from moderation.store.history import CELLS, Period
from moderation.wiring import Services
from tests.integration.traffic import NOW, Past, an_artifact, store
from thresholds.artifact import write_artifact

LIVE = an_artifact()
OTHER = an_artifact(weights="3")


def _day(rng: np.random.Generator, n: int, hours: int, shift: float, policy: str) -> list[Past]:
    cosines = np.where(rng.random(n) < 0.1, rng.normal(0.08, 0.07, n), rng.normal(0.36, 0.03, n))
    return [
        Past(
            float(cosine + shift),
            "flag" if cosine < 0.2 else "pass",
            LIVE.fingerprint,
            dt.timedelta(hours=hours),
            policy,
            LIVE.version,
        )
        for cosine in cosines
    ]


@pytest.fixture
def traffic(services: Services) -> None:
    """Two days: yesterday as ever, today the ads lower; some of another model."""
    rng = np.random.default_rng(0)
    past = _day(rng, 1500, 12, 0.0, "default") + _day(rng, 1500, 36, 0.0, "default")
    past += _day(rng, 1500, 12, -0.05, "ads") + _day(rng, 1500, 36, 0.0, "ads")
    past += [Past(0.3, "pass", "another-model", dt.timedelta(hours=12))] * 10
    past += [Past(None, "unscorable", LIVE.fingerprint, dt.timedelta(hours=12))] * 100
    with services.database.begin() as connection:
        store(connection, past, now=dt.datetime.now(dt.UTC))


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`captionguard thresholds drift …`."""
    assert settings.database_url is not None
    return subprocess.run(
        [sys.executable, "-m", "thresholds", "drift", *arguments],
        env={
            "CAPTIONGUARD_DATABASE_URL": settings.database_url.get_secret_value(),
            "COLUMNS": "80",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("traffic")
def test_the_command_sees_what_moved(
    services: Services, settings: Settings, tmp_path: Path
) -> None:
    """One stream moved and the other did not; a file and what is published say the same."""
    file = tmp_path / "live.json"
    write_artifact(LIVE, file)
    named = run(settings, "--json", "--policy", "ads", "--calibration", str(file))
    assert named.returncode == 0, named.stderr
    ads = json.loads(named.stdout)
    assert (ads["level"], ads["items"], ads["before"]["items"]) == ("warn", 1500, 1500)
    assert ads["psi"] > 0.25 > 0.05 > ads["before"]["psi"] > 0
    assert ads["wasserstein"] > 0.2 > ads["before"]["wasserstein"]

    unpublished = json.loads(run(settings, "--json", "--policy", "ads").stdout)
    assert (unpublished["level"], unpublished["psi"]) == (None, None)
    assert "neither published nor set" in unpublished["reason"]

    with services.database.begin() as connection:
        kept = Stored(LIVE.version, LIVE.fingerprint, LIVE.model_dump_json())
        calibrations.keep(connection, kept)
    published = json.loads(run(settings, "--json", "--policy", "ads").stdout)
    assert published["calibration"] == LIVE.version
    assert published["psi"] == pytest.approx(ads["psi"])

    steady = json.loads(run(settings, "--json", "--policy", "default").stdout)
    assert steady["level"] == "steady"
    assert steady["prevalence"] == pytest.approx(0.1, abs=0.03)
    assert steady["verdicts"] == 1610
    assert steady["unscorable_rate"] == pytest.approx(100 / 1610)
    assert steady["models"] == [LIVE.fingerprint, "another-model"]

    told = run(settings, "--policy", "ads")
    assert not told.stdout
    assert "WARN: above 0.1" in told.stderr
    assert all(len(line) <= 80 for line in told.stderr.splitlines())


@pytest.mark.usefixtures("services")
def test_nothing_there_says_nothing(settings: Settings, tmp_path: Path) -> None:
    """Without verdicts there is a reason, and a window that is none is refused."""
    file = tmp_path / "other.json"
    write_artifact(OTHER, file)
    other = run(settings, "--json", "--calibration", str(file))
    assert "no verdict of the calibration's model" in json.loads(other.stdout)["reason"]
    done = run(settings, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reason"] == "no verdict has a score"
    assert run(settings, "--window", "soon").returncode == 2


def test_the_database_counts_cosines_as_numpy_does(services: Services) -> None:
    """Each cosine in its cell, the ends and what rounding put beyond them included."""
    rng = np.random.default_rng(0)
    cosines = [*rng.uniform(-1, 1, 500).tolist(), -1.0, 1.0, 1.0000001, 0.0]
    past = [Past(cosine, "pass", LIVE.fingerprint, version="mine") for cosine in cosines]
    past += [Past(0.5, "pass", LIVE.fingerprint, version="yours"), Past(0.5, "pass", "another")]
    period = Period(NOW - dt.timedelta(days=1), NOW)
    with services.database.connect() as connection:
        store(connection, past)
        model = LIVE.fingerprint
        mine = history.histogram(connection, period, model=model, calibration_version="mine")
        all_of_it = history.histogram(connection, period, model=model)
        connection.rollback()
    expected, _ = np.histogram(np.clip(cosines, -1, 1), np.linspace(-1, 1, CELLS + 1))
    # An edge may round to either side of it.
    assert np.abs(np.cumsum(mine - expected)).max() <= 1
    assert np.abs(mine - expected).sum() <= 2
    assert all_of_it.sum() == len(cosines) + 1
