"""Labels and calibrations that tests report on."""

from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from thresholds.artifact import Artifact, Choice, Interval, Report
from thresholds.labels import Labels
from thresholds.models import NamedModel
from thresholds.report.figures import Figures
from thresholds.report.measure import measure

MODEL = NamedModel("some:model", "a1" * 32, "b2" * 32)
_INTERVAL = Interval(point=0.5, lower=0.4, upper=0.6)


def make_labels(n: int = 600, *, gap: float = 0.1, seed: int = 0, ties: bool = False) -> Labels:
    """Pairs of an image each, all to report on; mismatches are of three kinds."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(n) % 2 == 0
    cosines = rng.normal(np.where(is_match, 0.2 + gap, 0.2), 0.05)
    kinds = np.where(is_match, "own", np.array(["random", "negation", "count"])[np.arange(n) % 3])
    return Labels.of(
        np.round(cosines, 2) if ties else cosines,
        is_match,
        images=np.arange(n).astype(np.str_),
        kinds=kinds,
        splits=np.full(n, "report"),
    )


def make_artifact(*, threshold: float = 0.35, prevalence: float | None = None) -> Artifact:
    """A calibration of about the labels of `make_labels`."""
    choice = None
    if prevalence is not None:
        choice = Choice(
            target="recall >= 0.8",
            prevalence=prevalence,
            confidence=None,
            recall=_INTERVAL,
            precision=_INTERVAL,
            matches=100,
            mismatches=100,
        )
    return Artifact(
        model=MODEL.spec,
        weights_sha256=MODEL.weights_sha256,
        preprocessing_sha256=MODEL.preprocessing_sha256,
        a=40.0,
        b=-10.0,
        threshold=threshold,
        choice=choice,
        cold_start=False,
        matches=100,
        mismatches=100,
        data_sha256="c3" * 32,
        report=Report(
            n=100,
            expected_calibration_error=0.01,
            brier_score=0.1,
            log_loss=0.3,
            auc=_INTERVAL,
            recall=_INTERVAL,
            false_positive_rate=_INTERVAL,
        ),
        versions={"captionguard": "0.1.0"},
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


@lru_cache
def make_figures() -> Figures:
    """Figures to draw and to say."""
    return measure(make_labels(), make_artifact(), name="labels.csv", prevalence=0.1)
