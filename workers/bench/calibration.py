"""A calibration for the benchmark's worker, which starts with none but its own model's."""

import math
from datetime import UTC, datetime
from pathlib import Path

from thresholds.artifact import Artifact, Interval, Report, write_artifact

_THRESHOLD = 0.35
_SLOPE = 30.0


def write_calibration(
    path: Path, model: str, fingerprint: tuple[str, str], *, border: float
) -> None:
    """Write one whose threshold lies at the cosine `border`.

    In the middle of the cosines most verdicts are close ones: a drift flips nowhere more.
    """
    unknown = Interval(point=0.5, lower=0.0, upper=1.0)
    offset = math.log(_THRESHOLD / (1 - _THRESHOLD)) - _SLOPE * border
    weights_sha256, preprocessing_sha256 = fingerprint
    artifact = Artifact(
        model=model,
        weights_sha256=weights_sha256,
        preprocessing_sha256=preprocessing_sha256,
        a=_SLOPE,
        b=offset,
        threshold=_THRESHOLD,
        cold_start=True,
        matches=0,
        mismatches=0,
        data_sha256="0" * 64,
        a_interval=Interval(point=_SLOPE, lower=_SLOPE, upper=_SLOPE),
        b_interval=Interval(point=offset, lower=offset, upper=offset),
        report=Report(
            n=0,
            expected_calibration_error=0.0,
            brier_score=0.0,
            log_loss=0.0,
            auc=unknown,
            recall=unknown,
            false_positive_rate=unknown,
        ),
        versions={},
        created_at=datetime.now(UTC),
    )
    write_artifact(artifact, path)
