"""From labels to an artifact: honest splits, and refusals instead of nonsense."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import InputRefused
from moderation.settings import Settings
from thresholds.artifact import Artifact
from thresholds.calibrate import DEFAULT_THRESHOLD, Method, calibrate
from thresholds.labels import Labels
from thresholds.models import NamedModel
from thresholds.sources import read_source
from thresholds.splits import MIN_LABELS, Split, rows_of, take_split
from thresholds.words import doubts

MODEL = NamedModel("some:model", "a1" * 32, "b2" * 32)
FASHION = Path(__file__).parents[4] / "shared" / "data" / "clip-cosines" / "fashion.csv"


def _labels(n_images: int = 200, *, seed: int = 0) -> Labels:
    """Make a match and a mismatch of each image."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(2 * n_images) % 2 == 0
    return Labels.of(
        rng.normal(np.where(is_match, 0.32, 0.18), 0.06),
        is_match,
        images=(np.arange(2 * n_images) // 2).astype(np.str_),
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
    """Model, counts and the standard threshold are in it; the report is on pairs held out."""
    assert (artifact.model, artifact.fingerprint) == ("some:model", f"{'a1' * 8}-{'b2' * 8}")
    assert artifact.threshold == DEFAULT_THRESHOLD == 0.35
    assert not artifact.cold_start
    fitted, held = (take_split(_labels(), split) for split in (Split.FIT, Split.REPORT))
    assert (artifact.matches, artifact.mismatches) == (fitted.matches, fitted.mismatches)
    assert artifact.report.n == len(held)
    assert 60 <= fitted.matches <= 100
    assert "torch" in artifact.versions


def test_the_reference_is_of_what_was_fitted(artifact: Artifact) -> None:
    """Quantiles of either class's cosines, from the least to the largest."""
    fitted = take_split(_labels(), Split.FIT)
    assert artifact.reference is not None
    for quantiles, rows in (
        (artifact.reference.match_quantiles, fitted.is_match),
        (artifact.reference.mismatch_quantiles, ~fitted.is_match),
    ):
        cosines = fitted.cosines[rows]
        assert (quantiles[0], quantiles[-1]) == (cosines.min(), cosines.max())
        assert quantiles[50] == pytest.approx(np.median(cosines), abs=0.01)
        assert list(quantiles) == sorted(quantiles)


def test_the_curve_is_that_of_the_data(artifact: Artifact) -> None:
    """Two normal classes have a known curve; the 95 % intervals, being wide, hold it here."""
    a, b = 0.14 / 0.06**2, (0.18**2 - 0.32**2) / (2 * 0.06**2)
    assert artifact.a_interval is not None
    assert artifact.b_interval is not None
    assert artifact.a is not None
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
def test_an_image_is_in_one_split(seed: int) -> None:
    """With several pairs an image, in any order, each split holds whole images, and all do."""
    rng = np.random.default_rng(seed)
    is_match = np.tile(np.arange(10) < 6, 100)
    images = np.repeat(np.arange(100), 10).astype(np.str_)
    labels = Labels.of(rng.uniform(-1, 1, 1000), is_match, images=images)
    labels = labels.take(rng.permutation(1000))
    parts = [set(labels.images[rows_of(labels, split, seed=seed)]) for split in Split]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 100
    assert [take_split(labels, split, seed=seed).matches for split in Split] == [
        6 * len(part) for part in parts
    ]


def test_given_splits_rule() -> None:
    """Labels that say which split a pair is for are split so, whatever their images are called."""
    labels = _labels()
    splits = np.repeat(["report", "choose", "fit", "fit"], 100)
    artifact = calibrate(replace(labels, splits=splits), MODEL)
    assert (artifact.matches, artifact.mismatches, artifact.report.n) == (100, 100, 100)


def test_an_image_in_two_splits_is_refused() -> None:
    """What was fitted on cannot be reported on: the image is named."""
    labels = _labels()
    splits = np.where(np.arange(400) % 2, "fit", "report")
    with pytest.raises(
        InputRefused, match="across splits: the image 0 is in fit and report, and 199"
    ):
        calibrate(replace(labels, splits=splits), MODEL)


@pytest.mark.parametrize("threshold", [0, 1, -0.35, 35, float("nan"), float("inf")])
def test_a_threshold_lies_between_0_and_1(threshold: float) -> None:
    """What is no score cannot be a threshold."""
    with pytest.raises(InputRefused, match="threshold must lie between 0 and 1"):
        calibrate(_labels(), MODEL, threshold=threshold)


@pytest.mark.parametrize("cosine", [float("nan"), float("inf"), float("-inf"), 1.01, -2.0])
def test_a_cosine_that_is_none_is_refused(cosine: float) -> None:
    """One bad cosine stops everything rather than spoil it."""
    labels = _labels()
    labels.cosines[7] = cosine
    with pytest.raises(InputRefused, match="no numbers between -1 and 1"):
        Labels.of(labels.cosines, labels.is_match)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    """So does one bad weight."""
    labels = _labels()
    labels.weights[7] = weight
    with pytest.raises(InputRefused, match="no numbers above 0"):
        Labels.of(labels.cosines, labels.is_match, weights=labels.weights)


@pytest.mark.parametrize(("rare", "name"), [(True, "matches"), (False, "mismatches")])
@pytest.mark.parametrize("count", [0, 1, MIN_LABELS - 1])
def test_too_few_labels_of_a_class_are_refused(rare: bool, name: str, count: int) -> None:
    """Both classes are needed; the message says which one lacks and how many there are."""
    labels = _labels()
    kept = np.concatenate(
        [np.flatnonzero(labels.is_match != rare), np.flatnonzero(labels.is_match == rare)[:count]]
    )
    with pytest.raises(InputRefused, match=rf"{MIN_LABELS} {name} are needed, there are {count};"):
        calibrate(labels.take(kept), MODEL)


@pytest.mark.parametrize(
    ("split", "kept", "says"),
    [
        ("fit", 29, "fit on needs at least 30 matches, has 29; label about 3 more"),
        ("report", 9, "report on needs at least 10 matches, has 9; label about 4 more"),
    ],
)
def test_either_part_needs_labels_of_both_classes(split: str, kept: int, says: str) -> None:
    """Enough in total is not enough when one part is left with too few: it says how many more."""
    labels = _labels()
    labels = replace(labels, splits=np.repeat(["report", "choose", "fit", "fit"], 100))
    rare = labels.is_match & (labels.splits == split)
    rows = ~rare | (np.cumsum(rare) <= kept)
    with pytest.raises(InputRefused, match=says):
        calibrate(labels.take(rows), MODEL)


def test_small_label_sets_are_usable() -> None:
    """30 pairs of a class to fit on and 10 to report on are enough; intervals say what they are."""
    labels = replace(_labels(50), splits=np.repeat(["fit", "choose", "report"], [60, 20, 20]))
    artifact = calibrate(labels, MODEL)
    assert (artifact.matches, artifact.mismatches, artifact.report.n) == (30, 30, 20)
    assert artifact.report.recall.upper - artifact.report.recall.lower > 0.2


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
def test_labels_that_are_swapped_are_refused(method: Method) -> None:
    """A curve that falls would flag what matches; the message guesses why."""
    labels = _labels(3000 if method == "isotonic" else 200)
    with pytest.raises(InputRefused, match="labels may be swapped"):
        calibrate(replace(labels, is_match=~labels.is_match), MODEL, method=method)


def test_a_model_that_always_says_the_same_is_refused() -> None:
    """Equal cosines tell nothing of any pair."""
    labels = _labels()
    with pytest.raises(InputRefused, match="cannot tell"):
        calibrate(replace(labels, cosines=np.full(400, 0.25)), MODEL)


def test_pairs_of_one_image_are_refused() -> None:
    """One image cannot be split into what is fitted and what is reported on."""
    labels = _labels()
    with pytest.raises(InputRefused, match="each of another image"):
        calibrate(replace(labels, images=np.full(400, "0")), MODEL)


@pytest.mark.parametrize("method", ["platt", "beta"])
@pytest.mark.parametrize("seed", range(3))
def test_real_cosines_are_calibrated_well(seed: int, method: Method) -> None:
    """On a real model's cosines of random swaps, scores are off by 0.03 at most."""
    if not FASHION.exists():
        pytest.skip(f"{FASHION.name}, cosines of a real model, is not there")
    labels = read_source(FASHION, Settings()).labels
    random = labels.take(np.isin(labels.kinds, ["own", "random_swap"]))
    artifact = calibrate(random, MODEL, method=method, seed=seed)
    assert artifact.report.expected_calibration_error <= 0.03
    assert artifact.report.auc.point > 0.95


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
def test_simulated_cosines_are_calibrated_well(method: Method) -> None:
    """On 6,000 pairs of two overlapping classes, scores are off by 0.03 at most."""
    artifact = calibrate(_labels(3000), MODEL, method=method)
    assert artifact.method == method
    assert artifact.report.expected_calibration_error <= 0.03


def test_weights_make_up_for_how_labels_were_drawn() -> None:
    """Of few passed pairs and all flagged ones, only the weighted fit finds the true curve."""
    rng = np.random.default_rng(5)
    is_match = np.arange(30_000) % 2 == 0
    cosines = rng.normal(np.where(is_match, 0.32, 0.18), 0.06).clip(-1, 1)
    probability = np.where(cosines < 0.22, 1.0, 0.05)
    drawn = rng.random(30_000) < probability
    weighted, plain = (
        calibrate(Labels.of(cosines[drawn], is_match[drawn], weights=weights), MODEL)
        for weights in (1 / probability[drawn], None)
    )
    a, b = 0.14 / 0.06**2, (0.18**2 - 0.32**2) / (2 * 0.06**2)
    assert weighted.a is not None
    assert plain.a is not None
    assert plain.b is not None
    true = 1 / (1 + np.exp(-(a * cosines + b)))
    errors = [
        float(np.abs(artifact.curve.scores(cosines) - true).mean())
        for artifact in (weighted, plain)
    ]
    assert errors[0] < 0.02
    assert errors[1] > 0.1
    # Its own rates are those of all traffic, not of what was drawn.
    flagged = true < 0.35
    assert weighted.report.recall.point == pytest.approx(flagged[~is_match].mean(), abs=0.03)
    assert abs(plain.report.recall.point - flagged[~is_match].mean()) > 0.03


def test_labels_that_tell_little_for_their_number_are_told() -> None:
    """Ten misses that stand for 250 passes each outweigh a thousand flags; equal weights do not."""
    labels = _labels(1000)
    below = labels.cosines < 0.25
    heavy = replace(labels, weights=np.where(below, 1.0, 250.0))
    few = heavy.take(labels.is_match | below | (np.arange(2000) % 40 == 1))
    fitted = few.take(rows_of(few, Split.FIT))
    weights = fitted.weights[~fitted.is_match]
    artifact = calibrate(few, MODEL)
    assert artifact.effective_mismatches == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert artifact.effective_mismatches < 10 < 300 < artifact.mismatches
    told = f"the {artifact.mismatches} mismatches fitted on tell about as much as "
    assert any(told in doubt for doubt in doubts(artifact))
    assert not doubts(calibrate(replace(labels, weights=np.full(2000, 250.0)), MODEL))


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["platt", "beta"]))
def test_the_order_of_rows_changes_nothing_but_the_hash(seed: int, method: Method) -> None:
    """The same labels in another order give the same curve, report and reference."""
    labels = _labels(150)
    order = np.random.default_rng(seed).permutation(len(labels))
    first, other = (calibrate(part, MODEL, method=method) for part in (labels, labels.take(order)))
    assert other.reference == first.reference
    np.testing.assert_allclose(
        other.curve.scores(labels.cosines), first.curve.scores(labels.cosines), atol=1e-4
    )
    assert (other.matches, other.mismatches) == (first.matches, first.mismatches)
    for name in ("recall", "false_positive_rate"):
        # Sums in another order differ in their last digit.
        assert getattr(other.report, name).model_dump() == pytest.approx(
            getattr(first.report, name).model_dump(), rel=1e-12
        )
    assert other.report.log_loss == pytest.approx(first.report.log_loss, abs=1e-5)
    assert other.report.auc.lower == pytest.approx(first.report.auc.lower)


@pytest.mark.parametrize("method", ["platt", "beta"])
def test_a_row_of_weight_2_is_a_row_written_twice(method: Method) -> None:
    """Curve, reference and every figure but the widths of rates are the same."""
    labels = _labels(150)
    doubled = np.arange(300) % 5 == 0
    weighted = replace(labels, weights=np.where(doubled, 2.0, 1.0))
    rows = np.repeat(np.arange(300), np.where(doubled, 2, 1))
    first, other = (calibrate(part, MODEL, method=method) for part in (weighted, labels.take(rows)))
    assert other.reference == first.reference
    np.testing.assert_allclose(
        other.curve.scores(labels.cosines), first.curve.scores(labels.cosines), atol=1e-4
    )
    for name in ("auc", "recall", "false_positive_rate"):
        assert getattr(other.report, name).point == pytest.approx(getattr(first.report, name).point)
