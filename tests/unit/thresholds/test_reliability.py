"""The figures of a calibration's report are what they are called."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from moderation.curves import Isotonic
from thresholds import reliability
from thresholds.artifact import Report
from thresholds.labels import Bools, Floats, Labels
from thresholds.reliability import expected_calibration_error, report_on

SHARES = st.floats(0.001, 0.999)


def _wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson (1927), the 95 % score interval of a share."""
    z = norm.ppf(0.975)
    middle = (hits + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * sqrt(hits * (n - hits) / n + z**2 / 4)
    return middle - half, middle + half


def _held_out(n: int = 300, *, seed: int = 0) -> tuple[Floats, Bools, Floats]:
    """Draw scores with labels that follow them but not quite, three of an image."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(n) % 3 == 0
    # Rounded, so that some scores are equal.
    scores = expit(rng.normal(np.where(is_match, 1.5, -1.5), 1.5)).round(2).clip(0.01, 0.99)
    return scores, is_match, (np.arange(n) // 3).astype(np.float64)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "_RESAMPLES", 100)


def _report_on(
    scores: Floats, is_match: Bools, groups: Floats, *, threshold: float = 0.35, seed: int = 0
) -> Report:
    """The report on pairs whose scores are these: a curve that leaves a cosine as it is."""
    labels = Labels.of(scores, is_match, images=groups.astype(np.str_))
    return report_on(labels, Isotonic((0.0, 1.0), (0.0, 1.0)), threshold=threshold, seed=seed)


def _report(threshold: float = 0.35, seed: int = 0) -> Report:
    return _report_on(*_held_out(), threshold=threshold, seed=seed)


def test_scores_that_are_probabilities_have_no_error() -> None:
    """Labels drawn with their own scores leave next to no calibration error."""
    rng = np.random.default_rng(1)
    scores = rng.random(100_000)
    error = expected_calibration_error(scores, rng.random(100_000) < scores, np.ones(100_000))
    assert error < 0.01


def test_scores_that_are_off_by_a_tenth_have_that_error() -> None:
    """Scores too high by 0.1 everywhere have an error of 0.1."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 0.9, 100_000)
    is_match = rng.random(100_000) < scores
    error = expected_calibration_error(scores + 0.1, is_match, np.ones(100_000))
    assert error == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("last_weight", "expected"), [(1.0, 0.13), (3.0, 0.2)])
def test_a_worked_example(last_weight: float, expected: float) -> None:
    """Ten bins of two: nine are off by 0.1, the last by 0.9 less its weighted share."""
    # A hair's breadth apart, since equal scores would share a bin.
    scores = np.array([0.1] * 10 + [0.9] * 10) + 1e-12 * np.arange(20)
    is_match = np.array([False] * 10 + [True] * 9 + [False])
    weights = np.array([1.0] * 19 + [last_weight])
    assert expected_calibration_error(scores, is_match, weights) == pytest.approx(expected)


def test_right_and_certain_scores_have_no_error() -> None:
    """Scores of 0 and 1 that are right have an error of 0; wrong ones have 1."""
    is_match = np.arange(40) < 20
    weights = np.ones(40)
    assert expected_calibration_error(is_match.astype(float), is_match, weights) == pytest.approx(0)
    assert expected_calibration_error(
        1 - is_match.astype(float), is_match, weights
    ) == pytest.approx(1)


@given(st.lists(st.tuples(SHARES, st.booleans(), st.floats(0.1, 10)), min_size=1, max_size=60))
def test_the_error_is_a_share(rows: list[tuple[float, bool, float]]) -> None:
    """Whatever scores, labels and weights are, the error lies between 0 and 1."""
    scores, is_match, weights = (np.array(column) for column in zip(*rows, strict=True))
    assert 0 <= expected_calibration_error(scores, is_match, weights) <= 1 + 1e-12


@given(st.permutations(range(40)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    """The same rows in another order have the same error."""
    rng = np.random.default_rng(2)
    scores, is_match, weights = rng.random(40), rng.random(40) < 0.5, rng.random(40)
    shuffled = expected_calibration_error(scores[order], is_match[order], weights[order])
    assert shuffled == pytest.approx(expected_calibration_error(scores, is_match, weights))


def test_a_report_is_weighted_to_a_prior_of_one_half() -> None:
    """Brier score and log loss are means over the classes, each class weighing one half."""
    scores, is_match, _ = _held_out()
    report = _report()
    squares = (scores - is_match) ** 2
    losses = -np.log(np.where(is_match, scores, 1 - scores))
    for figure, each in ((report.brier_score, squares), (report.log_loss, losses)):
        assert figure == pytest.approx((each[is_match].mean() + each[~is_match].mean()) / 2)
    weights = np.where(is_match, 1 / is_match.sum(), 1 / (~is_match).sum())
    expected = expected_calibration_error(scores, is_match, weights)
    assert report.expected_calibration_error == pytest.approx(expected)
    assert report.n == 300


@pytest.mark.parametrize("threshold", [0.05, 0.35, 0.5, 0.95])
def test_rates_come_with_wilson_intervals(threshold: float) -> None:
    """Recall and false-positive rate are shares below the threshold, as Wilson has them."""
    scores, is_match, _ = _held_out()
    report = _report_on(scores, is_match, np.arange(300), threshold=threshold, seed=0)
    for rate, of in ((report.recall, ~is_match), (report.false_positive_rate, is_match)):
        hits, n = int((scores[of] < threshold).sum()), int(of.sum())
        assert rate.point == pytest.approx(hits / n)
        assert (rate.lower, rate.upper) == pytest.approx(_wilson(hits, n))


def test_a_score_equal_to_the_threshold_is_not_flagged() -> None:
    """The report counts as the verdict does: strictly below."""
    is_match = np.arange(40) < 20
    report = _report_on(
        np.full(40, 0.35), is_match, np.arange(40, dtype=np.float64), threshold=0.35, seed=0
    )
    assert (report.recall.point, report.false_positive_rate.point) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_counts_pairs_in_order(seed: int) -> None:
    """AUC is the share of match and mismatch pairs in the right order, ties counting half."""
    scores, is_match, groups = _held_out(30, seed=seed)
    higher = [
        1.0 if match > mismatch else 0.5 if match == mismatch else 0.0
        for match in scores[is_match]
        for mismatch in scores[~is_match]
    ]
    auc = _report_on(scores, is_match, groups, threshold=0.35, seed=0).auc
    assert auc.point == pytest.approx(np.mean(higher))


def test_the_interval_of_the_auc_contains_it() -> None:
    """The bootstrap's interval holds the point, is no point itself, and follows from the seed."""
    auc, again, other = _report().auc, _report().auc, _report(seed=1).auc
    assert auc.lower < auc.point < auc.upper
    assert auc.upper - auc.lower < 0.2
    assert auc == again
    assert auc != other


def test_images_are_resampled_not_rows() -> None:
    """Rows of one image bring nothing new: copies of each leave the interval as it was."""
    scores, is_match, groups = _held_out(90)
    once = _report_on(scores, is_match, groups, threshold=0.35, seed=0).auc
    often = _report_on(
        np.tile(scores, 4), np.tile(is_match, 4), np.tile(groups, 4), threshold=0.35, seed=0
    ).auc
    assert (often.lower, often.upper) == pytest.approx((once.lower, once.upper))


def test_copies_of_pairs_leave_the_intervals_of_rates() -> None:
    """Four pairs of an image that say the same tell as much of recall as one does."""
    scores, is_match, _ = _held_out(300)
    images = np.arange(300)
    once = _report_on(scores, is_match, images, threshold=0.35, seed=0)
    often = _report_on(
        np.tile(scores, 4), np.tile(is_match, 4), np.tile(images, 4), threshold=0.35, seed=0
    )
    for name in ("recall", "false_positive_rate"):
        ours, theirs = getattr(once, name), getattr(often, name)
        assert (theirs.lower, theirs.upper) == pytest.approx((ours.lower, ours.upper))


def test_weights_stand_for_rows() -> None:
    """A row of weight 3 counts in every figure as three rows would."""
    scores, is_match, groups = _held_out(90)
    weights = np.arange(90) % 3 + 1.0
    rows = np.repeat(np.arange(90), weights.astype(int))
    curve = Isotonic((0.0, 1.0), (0.0, 1.0))
    weighted, often = (
        report_on(labels, curve, threshold=0.35, seed=0)
        for labels in (
            Labels.of(scores, is_match, images=groups.astype(np.str_), weights=weights),
            Labels.of(scores[rows], is_match[rows], images=groups[rows].astype(np.str_)),
        )
    )
    for name in ("expected_calibration_error", "brier_score", "log_loss"):
        assert getattr(weighted, name) == pytest.approx(getattr(often, name)), name
    for name in ("auc", "recall", "false_positive_rate"):
        assert getattr(weighted, name).point == pytest.approx(getattr(often, name).point), name
    assert (weighted.auc.lower, weighted.auc.upper) == pytest.approx(
        (often.auc.lower, often.auc.upper)
    )
