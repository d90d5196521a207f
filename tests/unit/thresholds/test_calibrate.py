"""From labels to an artifact: honest splits, and refusals instead of nonsense."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from moderation.errors import InputRefused
from thresholds.artifact import Artifact
from thresholds.calibrate import DEFAULT_THRESHOLD, MIN_LABELS, calibrate
from thresholds.labels import Labels

if TYPE_CHECKING:
    from moderation.scoring.model import ClipModel

# What calibrating reads of a model, without one: it works on cosines alone.
MODEL = cast(
    "ClipModel",
    SimpleNamespace(spec="some:model", weights_sha256="a1" * 32, preprocessing_sha256="b2" * 32),
)
FASHION = Path(__file__).parents[4] / "shared" / "data" / "clip-cosines" / "fashion.csv"


def _labels(n_images: int = 200, *, seed: int = 0) -> Labels:
    """Make a match and a mismatch of each image."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(2 * n_images) % 2 == 0
    return Labels(
        cosines=rng.normal(np.where(is_match, 0.32, 0.18), 0.06),
        is_match=is_match,
        groups=(np.arange(2 * n_images) // 2).astype(np.float64),
    )


@pytest.fixture(scope="module", autouse=True)
def _few_resamples() -> Iterator[None]:
    """Draw rough intervals: many resamples take seconds a calibration."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 20)
        monkeypatch.setattr("thresholds.reliability._RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def artifact(_few_resamples: None) -> Artifact:
    """Calibrate once for all tests that only look."""
    return calibrate(_labels(), MODEL)


def test_the_artifact_says_what_it_was_made_for_and_from(artifact: Artifact) -> None:
    """Model, counts and the standard threshold are in it; two fifths of the pairs are held out."""
    assert (artifact.model, artifact.fingerprint) == ("some:model", f"{'a1' * 8}-{'b2' * 8}")
    assert artifact.threshold == DEFAULT_THRESHOLD == 0.35
    assert not artifact.cold_start
    assert (artifact.matches, artifact.mismatches, artifact.report.n) == (120, 120, 160)
    assert "torch" in artifact.versions


def test_the_curve_is_that_of_the_data(artifact: Artifact) -> None:
    """Two normal classes have a known curve; the 95 % intervals, being wide, hold it here."""
    a, b = 0.14 / 0.06**2, (0.18**2 - 0.32**2) / (2 * 0.06**2)
    assert artifact.a_interval.lower < a < artifact.a_interval.upper
    assert artifact.b_interval.lower < b < artifact.b_interval.upper
    assert artifact.a_interval.lower < artifact.a < artifact.a_interval.upper
    assert artifact.a == artifact.a_interval.point
    assert artifact.report.expected_calibration_error < 0.15


def test_calibrating_again_gives_the_same(artifact: Artifact) -> None:
    """The same labels and seed give the same artifact, but for its date."""
    again = calibrate(_labels(), MODEL)
    assert again.model_copy(update={"created_at": artifact.created_at}) == artifact


def test_other_data_have_another_hash(artifact: Artifact) -> None:
    """One label that changes shows in the hash of the data, as does another seed in the split."""
    labels = _labels()
    changed = replace(labels, is_match=np.concatenate([[False], labels.is_match[1:]]))
    other = calibrate(changed, MODEL, seed=1, threshold=0.5, cold_start=True)
    assert other.data_sha256 != artifact.data_sha256
    assert other.a != artifact.a
    assert (other.threshold, other.cold_start) == (0.5, True)


@pytest.mark.parametrize("seed", range(3))
def test_an_image_is_fitted_on_or_reported_on_never_both(seed: int) -> None:
    """With 60 matches and 40 mismatches an image, both parts hold whole images of them."""
    rng = np.random.default_rng(seed)
    is_match = np.tile(np.arange(100) < 60, 10)
    labels = Labels(
        cosines=rng.normal(np.where(is_match, 0.32, 0.18), 0.06),
        is_match=is_match,
        groups=np.repeat(np.arange(10), 100).astype(np.float64),
    )
    order = rng.permutation(1000)
    shuffled = Labels(labels.cosines[order], is_match[order], labels.groups[order])
    artifact = calibrate(shuffled, MODEL, seed=seed)
    assert (artifact.matches, artifact.mismatches) == (6 * 60, 6 * 40)
    assert artifact.report.n == 4 * 100


@pytest.mark.parametrize("threshold", [0, 1, -0.35, 35, float("nan"), float("inf")])
def test_a_threshold_lies_between_0_and_1(threshold: float) -> None:
    """What is no score cannot be a threshold."""
    with pytest.raises(InputRefused, match="threshold must lie between 0 and 1"):
        calibrate(_labels(), MODEL, threshold=threshold)


@pytest.mark.parametrize("cosine", [float("nan"), float("inf"), float("-inf")])
def test_a_cosine_that_is_no_number_is_refused(cosine: float) -> None:
    """One bad cosine stops the fit rather than spoil it."""
    labels = _labels()
    labels.cosines[7] = cosine
    with pytest.raises(InputRefused, match="no finite numbers"):
        calibrate(labels, MODEL)


@pytest.mark.parametrize(("rare", "name"), [(True, "matches"), (False, "mismatches")])
@pytest.mark.parametrize("count", [0, 1, MIN_LABELS - 1])
def test_too_few_labels_of_a_class_are_refused(rare: bool, name: str, count: int) -> None:
    """Both classes are needed; the message says which one lacks and how many there are."""
    labels = _labels()
    kept = np.concatenate(
        [np.flatnonzero(labels.is_match != rare), np.flatnonzero(labels.is_match == rare)[:count]]
    )
    few = Labels(labels.cosines[kept], labels.is_match[kept], labels.groups[kept])
    with pytest.raises(InputRefused, match=rf"at least {MIN_LABELS} {name}, has {count};"):
        calibrate(few, MODEL)


def test_either_part_needs_labels_of_both_classes() -> None:
    """Enough in total is not enough when the report's part is left with too few."""
    with pytest.raises(InputRefused, match="the report needs at least 30"):
        calibrate(_labels(60), MODEL)


def test_labels_that_are_swapped_are_refused() -> None:
    """A curve that falls would flag what matches; the message guesses why."""
    labels = _labels()
    with pytest.raises(InputRefused, match="labels may be swapped"):
        calibrate(replace(labels, is_match=~labels.is_match), MODEL)


def test_a_model_that_always_says_the_same_is_refused() -> None:
    """Equal cosines tell nothing of any pair."""
    labels = _labels()
    with pytest.raises(InputRefused, match="cannot tell"):
        calibrate(replace(labels, cosines=np.full(400, 0.25)), MODEL)


def test_pairs_of_one_image_are_refused() -> None:
    """One image cannot be split into what is fitted and what is reported on."""
    labels = _labels()
    with pytest.raises(InputRefused, match="different images"):
        calibrate(replace(labels, groups=np.zeros(400)), MODEL)


@pytest.mark.parametrize("seed", range(3))
def test_real_cosines_are_calibrated_well(seed: int) -> None:
    """On a real model's cosines of random swaps, scores are off by 0.03 at most."""
    if not FASHION.exists():
        pytest.skip(f"{FASHION.name}, cosines of a real model, is not there")
    with FASHION.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("own", "random_swap")]
    labels = Labels(
        cosines=np.array([float(row["cosine"]) for row in rows]),
        is_match=np.array([row["label"] == "match" for row in rows]),
        groups=np.array([float(row["image"]) for row in rows]),
    )
    artifact = calibrate(labels, MODEL, seed=seed)
    assert artifact.report.expected_calibration_error <= 0.03
    assert artifact.report.auc.point > 0.95
