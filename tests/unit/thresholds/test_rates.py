"""Recall, false-positive rate and what follows from them, with intervals that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from moderation.curves import Floats
from thresholds.artifact import Interval
from thresholds.labels import Bools, Labels
from thresholds.rates import Rates, precision_at, rates_at, share

NAMES = ("recall", "false_positive_rate", "precision", "accuracy", "f1")
ROWS = st.lists(
    st.tuples(st.floats(0.01, 0.99), st.booleans(), st.sampled_from("abcdef"), st.floats(0.1, 9)),
    min_size=1,
    max_size=40,
).map(lambda rows: [*rows, (0.2, True, "g", 1.0), (0.7, False, "h", 1.0)])


def _labels(rows: list[tuple[float, bool, str, float]]) -> tuple[Labels, Floats]:
    scores, is_match, images, weights = (np.array(column) for column in zip(*rows, strict=True))
    return Labels.of(np.zeros(len(rows)), is_match, images=images, weights=weights), scores


@given(ROWS, st.floats(0.01, 0.99))
def test_points_are_those_of_scikit_learn(
    rows: list[tuple[float, bool, str, float]], threshold: float
) -> None:
    """At the labels' own prevalence all figures equal scikit-learn's, weighted alike."""
    labels, scores = _labels(rows)
    mismatch, flagged, weights = ~labels.is_match, scores < threshold, labels.weights
    rates = rates_at(
        labels, scores, threshold, prevalence=float(np.average(mismatch, weights=weights))
    )
    for name, figure in (
        ("recall", recall_score),
        ("precision", precision_score),
        ("f1", f1_score),
        ("accuracy", accuracy_score),
    ):
        options = {} if name == "accuracy" else {"zero_division": 0}
        expected = figure(mismatch, flagged, sample_weight=weights, **options)
        assert getattr(rates, name).point == pytest.approx(expected, abs=1e-9), name


@given(ROWS, st.floats(0.01, 0.99), st.floats(0.001, 0.999))
def test_intervals_hold_their_point_and_stay_shares(
    rows: list[tuple[float, bool, str, float]], threshold: float, prevalence: float
) -> None:
    """Whatever labels, threshold and prevalence are, also with no flag or no mistake at all."""
    labels, scores = _labels(rows)
    rates = rates_at(labels, scores, threshold, prevalence=prevalence)
    for name in NAMES:
        interval = getattr(rates, name)
        assert 0 <= interval.lower <= interval.point <= interval.upper <= 1, name


@pytest.mark.parametrize(("prevalence", "precision"), [(0.5, 0.977), (0.1, 0.63), (0.01, 0.126)])
def test_the_reference_result_at_other_prevalences(prevalence: float, precision: float) -> None:
    """An accuracy of 93.7 % with a recall of 89.5 % means another precision at each."""
    accuracy, recall = 0.937, 0.895
    wrong = 1 - (accuracy - prevalence * recall) / (1 - prevalence)
    got = precision_at(np.array([recall]), np.array([wrong]), prevalence)[0]
    assert got == pytest.approx(precision, abs=0.001)


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (179, 200), (40, 40)])
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    """Pairs of equal weight with an image each have the interval of scipy's test."""
    got = share(np.arange(n) < hits, np.full(n, 2.5), np.arange(n).astype(np.str_))
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (got.lower, got.upper) == pytest.approx((expected.low, expected.high))


def test_more_pairs_of_the_same_images_say_no_more() -> None:
    """Each pair five times over leaves every interval as it was."""
    rng = np.random.default_rng(0)
    scores, is_match = rng.random(200), np.arange(200) % 2 == 0
    images = np.arange(200).astype(np.str_)
    once = rates_at(Labels.of(scores, is_match, images=images), scores, 0.35, prevalence=0.1)
    rows = np.tile(np.arange(200), 5)
    often = rates_at(
        Labels.of(scores[rows], is_match[rows], images=images[rows]),
        scores[rows],
        0.35,
        prevalence=0.1,
    )
    for name in NAMES:
        one, five = getattr(once, name), getattr(often, name)
        assert (five.lower, five.upper) == pytest.approx((one.lower, one.upper)), name


def test_flagging_nothing_leaves_precision_open() -> None:
    """Precision then is 0, as in scikit-learn, and may be anything."""
    labels = Labels.of(np.zeros(60), np.arange(60) < 30)
    rates = rates_at(labels, np.full(60, 0.9), 0.35, prevalence=0.1)
    assert rates.precision == Interval(point=0, lower=0, upper=1)


def _flags(rate: float, n: int, of_image: Floats, alike: float, rng: np.random.Generator) -> Bools:
    """Flags of n pairs, some an image, that go along with what is the image's own."""
    own = np.repeat(of_image, n // len(of_image))
    return np.sqrt(alike) * own + np.sqrt(1 - alike) * rng.normal(size=n) < norm.ppf(rate)


@pytest.mark.parametrize(
    ("recall", "wrong", "prevalence", "images", "pairs", "alike"),
    [
        pytest.param(0.895, 0.021, 0.1, 300, 1, 0.0, id="the reference result"),
        pytest.param(0.9, 0.05, 0.01, 1000, 1, 0.0, id="rare mismatches"),
        pytest.param(0.895, 0.05, 0.1, 150, 3, 0.5, id="three alike of an image"),
        pytest.param(0.99, 0.003, 0.5, 300, 1, 0.0, id="near the ends"),
    ],
)
def test_intervals_cover_the_truth(
    recall: float, wrong: float, prevalence: float, images: int, pairs: int, alike: float
) -> None:
    """In 1,000 draws each 95 % interval holds the true figure in at least 92 %."""
    rng = np.random.default_rng(7)
    n, hits = images * pairs, prevalence * recall
    flags = hits + (1 - prevalence) * wrong
    truth = {
        "recall": recall,
        "false_positive_rate": wrong,
        "precision": hits / flags,
        "accuracy": hits + (1 - prevalence) * (1 - wrong),
        "f1": 2 * hits / (flags + prevalence),
    }
    names = np.tile(np.repeat(np.arange(images), pairs), 2).astype(np.str_)
    labels = Labels.of(np.zeros(2 * n), np.arange(2 * n) >= n, images=names)
    covered = dict.fromkeys(truth, 0)
    for _ in range(1000):
        of_image = rng.normal(size=images)
        flagged = np.concatenate(
            [_flags(rate, n, of_image, alike, rng) for rate in (recall, wrong)]
        )
        rates: Rates = rates_at(labels, np.where(flagged, 0.1, 0.9), 0.35, prevalence=prevalence)
        for name, true in truth.items():
            covered[name] += getattr(rates, name).lower <= true <= getattr(rates, name).upper
    assert min(covered.values()) >= 920, covered
