"""Isotonic calibration: scikit-learn's own, kept off 0 and 1."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from moderation.errors import InputRefused
from thresholds.isotonic import MIN_ISOTONIC_LABELS, fit_isotonic
from thresholds.labels import Labels


def _labels(matches: int, mismatches: int, *, digits: int = 6, seed: int = 0) -> Labels:
    rng = np.random.default_rng(seed)
    is_match = np.arange(matches + mismatches) < matches
    cosines = rng.normal(np.where(is_match, 0.32, 0.18), 0.06).round(digits).clip(-1, 1)
    return Labels.of(cosines, is_match, weights=rng.uniform(1, 20, len(cosines)))


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_scores_are_those_of_scikit_learn(seed: int, digits: int) -> None:
    """With weights and many equal cosines too, each score is what scikit-learn predicts."""
    labels = _labels(1000, 1500, digits=digits, seed=seed)
    own = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip").fit(
        labels.cosines, labels.is_match, sample_weight=labels.class_weights()
    )
    at = np.concatenate([labels.cosines, np.linspace(-1, 1, 301)])
    np.testing.assert_allclose(fit_isotonic(labels).scores(at), own.predict(at), atol=1e-12)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_knots_rise_and_leave_room_for_a_logit(seed: int, digits: int) -> None:
    """Cosines rise strictly, scores never fall, and none is 0 or 1."""
    curve = fit_isotonic(_labels(1000, 1000, digits=digits, seed=seed))
    assert all(x0 < x1 for x0, x1 in pairwise(curve.cosines))
    assert all(y0 <= y1 for y0, y1 in pairwise(curve.match_scores))
    assert 0 < curve.match_scores[0] < curve.match_scores[-1] < 1


def test_both_classes_weigh_the_same() -> None:
    """Five times as many mismatches do not move the curve from a prior of one half."""
    few, many = fit_isotonic(_labels(20_000, 4_000)), fit_isotonic(_labels(4_000, 20_000, seed=1))
    at = np.linspace(0.15, 0.35, 20)
    assert np.abs(few.scores(at) - many.scores(at)).mean() < 0.04
    # Half way between the classes, where plain counts would say 0.83 and 0.17.
    assert few.score(0.25) == pytest.approx(0.5, abs=0.1)
    assert many.score(0.25) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("matches", "mismatches", "says"),
    [
        (999, 5000, "1,000 matches to fit on, has 999, so 1 missing"),
        (5000, 300, "1,000 mismatches to fit on, has 300, so 700 missing"),
    ],
)
def test_few_labels_are_refused(matches: int, mismatches: int, says: str) -> None:
    """Below a thousand of a class it is refused, with how many are missing."""
    assert MIN_ISOTONIC_LABELS == 1000
    with pytest.raises(InputRefused, match=says):
        fit_isotonic(_labels(matches, mismatches))
