"""A worker starts only with a model and a calibration made for exactly it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Servers


def run(servers: Servers, tmp_path: Path, *command: str, **environment: str) -> tuple[int, str]:
    """Run a command that is expected to end; its status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={
            **os.environ,
            "CAPTIONGUARD_DATA_DIR": str(tmp_path),
            "CAPTIONGUARD_DATABASE_URL": servers.postgres_url,
            "CAPTIONGUARD_REDIS_URL": servers.redis_url,
            "CAPTIONGUARD_METRICS_PORT": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [("moderation", "worker"), ("celery", "-A", "workers.app", "worker")]
)
def test_no_calibration_no_worker(
    servers: Servers, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A model without a calibration stops the worker, which says how to make one."""
    status, said = run(
        servers,
        tmp_path,
        *command,
        CAPTIONGUARD_MODEL="RN50:random",
        CAPTIONGUARD_CALIBRATION_FILE="",
    )
    assert status == 1
    assert "captionguard thresholds calibrate" in said


def test_a_calibration_of_other_weights_is_refused(servers: Servers, tmp_path: Path) -> None:
    """A calibration made for another model stops the worker before it takes a message."""
    artifact = tmp_path / "other.json"
    point = {"point": 1.0, "lower": 0.5, "upper": 1.5}
    artifact.write_text(
        json.dumps(
            {
                "model": "another",
                "weights_sha256": "3" * 64,
                "preprocessing_sha256": "0" * 64,
                "a": 10.0,
                "b": -3.0,
                "threshold": 0.35,
                "cold_start": False,
                "matches": 100,
                "mismatches": 100,
                "data_sha256": "0" * 64,
                "a_interval": point,
                "b_interval": point,
                "report": {
                    "n": 100,
                    "expected_calibration_error": 0.01,
                    "brier_score": 0.1,
                    "log_loss": 0.3,
                    "auc": point,
                    "recall": point,
                    "false_positive_rate": point,
                },
                "versions": {},
                "created_at": "2026-01-01T00:00:00Z",
            }
        )
    )
    status, said = run(
        servers, tmp_path, "moderation", "worker", CAPTIONGUARD_CALIBRATION_FILE=str(artifact)
    )
    assert status == 1
    assert "made for another" in said
    assert "weights differ" in said


def test_a_model_that_is_not_there(servers: Servers, tmp_path: Path) -> None:
    """An unknown model stops the worker with what to do."""
    artifact = tmp_path / "broken.json"
    artifact.write_text("{}")
    status, said = run(
        servers, tmp_path, "moderation", "worker", CAPTIONGUARD_CALIBRATION_FILE=str(artifact)
    )
    assert status == 1
    assert "is no calibration of this version" in said


def test_a_wrong_setting_is_named(servers: Servers, tmp_path: Path) -> None:
    """A setting that cannot be read is named, without a traceback."""
    status, said = run(servers, tmp_path, "moderation", "api", CAPTIONGUARD_API_PORT="many")
    assert status == 1
    assert "CAPTIONGUARD_API_PORT" in said
    assert "Traceback" not in said


def test_a_database_that_is_not_there(servers: Servers, tmp_path: Path) -> None:
    """A worker whose database does not answer says so and ends with status 1."""
    status, said = run(
        servers,
        tmp_path,
        "moderation",
        "worker",
        CAPTIONGUARD_DATABASE_URL="postgresql://127.0.0.1:1/none",
    )
    assert status == 1
    assert "PostgreSQL does not answer" in said
