"""A calibration on disk is what it was, or it is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.curves import Platt
from moderation.errors import CalibrationRefused
from moderation.types import Calibration
from thresholds.artifact import (
    Artifact,
    Interval,
    Report,
    calibration_for,
    read_artifact,
    write_artifact,
)

INTERVAL = Interval(point=0.9, lower=0.85, upper=0.94)
ARTIFACT = Artifact(
    model="ViT-B-32:laion2b_s34b_b79k",
    weights_sha256="a1" * 32,
    preprocessing_sha256="b2" * 32,
    a=31.4,
    b=-6.2,
    threshold=0.35,
    cold_start=False,
    matches=600,
    mismatches=590,
    data_sha256="c3" * 32,
    a_interval=INTERVAL,
    b_interval=INTERVAL,
    report=Report(
        n=800,
        expected_calibration_error=0.02,
        brier_score=0.05,
        log_loss=0.2,
        auc=INTERVAL,
        recall=INTERVAL,
        false_positive_rate=INTERVAL,
    ),
    versions={"torch": "2.6.0"},
    created_at=datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=UTC),
)
FINGERPRINT = f"{'a1' * 8}-{'b2' * 8}"
ADVICE = "captionguard thresholds calibrate"


def _written(folder: Path, **changes: Any) -> Path:
    """Write the artifact as JSON with some members replaced; `...` removes one."""
    document = json.loads(ARTIFACT.model_dump_json()) | changes
    path = folder / "calibration.json"
    path.write_text(json.dumps({k: v for k, v in document.items() if v is not ...}))
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(CalibrationRefused) as caught:
        read_artifact(path)
    return str(caught.value)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """An artifact comes back as it was, with its version."""
    path = tmp_path / "calibration.json"
    write_artifact(ARTIFACT, path)
    assert read_artifact(path) == ARTIFACT
    assert read_artifact(path).version == ARTIFACT.version


@given(
    st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.datetimes(timezones=st.just(UTC)),
)
def test_every_number_survives(a: float, b: float, threshold: float, created_at: datetime) -> None:
    """No digit is lost in the file, and with them the version stays the same."""
    changed = {"a": a, "b": b, "threshold": threshold, "created_at": created_at}
    artifact = ARTIFACT.model_copy(update=changed)
    read = Artifact.model_validate_json(artifact.model_dump_json(indent=2))
    assert (read, read.version) == (artifact, artifact.version)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"weights_sha256": "d4" * 32},
        {"preprocessing_sha256": "d4" * 32},
        {"a": 31.400000000000002},
        {"b": -6.3},
        {"threshold": 0.36},
        {"cold_start": True},
        {"matches": 601},
        {"data_sha256": "d4" * 32},
        {"report": ARTIFACT.report.model_copy(update={"n": 801})},
        {"versions": {"torch": "2.6.1"}},
    ],
)
def test_another_content_is_another_version(change: dict[str, Any]) -> None:
    """Whatever changes in a calibration changes its version."""
    assert ARTIFACT.model_copy(update=change).version != ARTIFACT.version


def test_the_pipeline_gets_what_it_needs() -> None:
    """For the model that it was made for, a calibration carries its curve and threshold."""
    assert calibration_for(ARTIFACT, fingerprint=FINGERPRINT, spec="x") == Calibration(
        version=ARTIFACT.version, model=FINGERPRINT, curve=Platt(31.4, -6.2), threshold=0.35
    )


@pytest.mark.parametrize(
    ("fingerprint", "what"),
    [
        (f"{'00' * 8}-{'b2' * 8}", "the weights differ"),
        (f"{'a1' * 8}-{'00' * 8}", "the preprocessing differ"),
    ],
)
def test_a_calibration_of_another_model_is_refused(fingerprint: str, what: str) -> None:
    """Scores would mean nothing: the message says what differs and how to make the right one."""
    with pytest.raises(CalibrationRefused, match=what) as caught:
        calibration_for(ARTIFACT, fingerprint=fingerprint, spec="my-model:mine")
    message = str(caught.value)
    for part in (ARTIFACT.model, FINGERPRINT, fingerprint, f"{ADVICE} LABELS.jsonl"):
        assert part in message
    assert "--model my-model:mine" in message
    assert "CAPTIONGUARD_CALIBRATION_FILE" in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names the file that is not there and how to make one."""
    message = _refusal(tmp_path / "none.json")
    assert str(tmp_path / "none.json") in message
    assert ADVICE in message


def test_a_folder_is_no_calibration(tmp_path: Path) -> None:
    """What cannot be read as a file is refused like a missing one."""
    assert ADVICE in _refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"a,b\n1,2\n"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    """A damaged file is named, with how to make a new one."""
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    message = _refusal(path)
    assert str(path) in message
    assert ADVICE in message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "captionguard-calibration-0"}, "format"),
        ({"method": "temperature"}, "method"),
        ({"weights_sha256": ...}, "weights_sha256"),
        ({"weights_sha256": "a1"}, "weights_sha256"),
        ({"preprocessing_sha256": "B2" * 32}, "preprocessing_sha256"),
        ({"a": float("nan")}, "a"),
        ({"a": float("inf")}, "a"),
        ({"a": 0}, "the file"),
        ({"a": -31.4}, "the file"),
        ({"method": "isotonic"}, "the file"),
        ({"method": "isotonic", "knots": [[0.1, 0.2], [0.3, 0.1]]}, "the file"),
        ({"method": "isotonic", "knots": [[0.1, 0.2], [0.1, 0.3]]}, "the file"),
        ({"method": "isotonic", "knots": [[0.1, 0.2], [0.2, 1.3]]}, "knots.1.1"),
        ({"method": "beta"}, "the file"),
        ({"method": "beta", "c": 0, "b": -1}, "the file"),
        ({"b": float("nan")}, "b"),
        ({"b": float("-inf")}, "b"),
        ({"b": None}, "the file"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1}, "threshold"),
        ({"threshold": 35}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"prior": 0.1}, "prior"),
        ({"report": {}}, "report.n"),
        ({"temperature": 2}, "temperature"),
    ],
)
def test_a_wrong_member_is_refused(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    """Numbers that are none, and what nobody knows, are refused by name."""
    path = _written(tmp_path, **change)
    message = _refusal(path)
    assert f"{path} is no calibration of this version: {field}: " in message
    assert ADVICE in message
