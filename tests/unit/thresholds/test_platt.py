"""Platt's fit: maximum likelihood, both classes weighing the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from moderation.curves import Floats, Platt
from thresholds.labels import Bools, Labels
from thresholds.platt import fit_platt

MATCHED, SWAPPED, SPREAD = 0.32, 0.18, 0.06


def _cosines(n_matches: int, n_mismatches: int, *, seed: int = 0) -> tuple[Floats, Bools]:
    """Draw cosines of two classes that overlap, normal with the same spread, and shuffle them."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(n_matches + n_mismatches) < n_matches
    rng.shuffle(is_match)
    return rng.normal(np.where(is_match, MATCHED, SWAPPED), SPREAD), is_match


def _loss(a: float, b: float, cosines: Floats, is_match: Bools) -> float:
    """Minus the mean log posterior: half of the weight on either class, a prior on the slope."""
    logits = a * cosines + b
    losses = np.where(is_match, np.logaddexp(0, -logits), np.logaddexp(0, logits))
    prior = (a * cosines.std()) ** 2 / (2 * 1000 * len(cosines))
    return float(0.5 * losses[is_match].mean() + 0.5 * losses[~is_match].mean() + prior)


def _fit(cosines: Floats, is_match: Bools, weights: Floats | None = None) -> Platt:
    return fit_platt(Labels.of(cosines, is_match, weights=weights))


@pytest.mark.parametrize(
    ("n_matches", "n_mismatches", "seed"),
    [(30, 30, 0), (1000, 1000, 1), (1000, 50, 2), (40, 2000, 3), (200, 210, 4)],
)
def test_the_fit_is_the_maximum_of_the_posterior(
    n_matches: int, n_mismatches: int, seed: int
) -> None:
    """An optimiser of general purpose finds the same slope and intercept."""
    cosines, is_match = _cosines(n_matches, n_mismatches, seed=seed)
    best = minimize(
        lambda ab: _loss(ab[0], ab[1], cosines, is_match),
        x0=[10.0, -2.0],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-14, "maxiter": 5000},
    )
    fit = _fit(cosines, is_match)
    assert _loss(fit.a, fit.b, cosines, is_match) <= best.fun + 1e-10
    assert [fit.a, fit.b] == pytest.approx(best.x, rel=1e-3)


def test_scores_are_the_logistic_function_of_the_fit() -> None:
    """A fit's scores are `sigmoid(a * cosine + b)`, one a cosine."""
    cosines = np.linspace(-1, 1, 7)
    np.testing.assert_allclose(
        Platt(a=12, b=-3).scores(cosines), 1 / (1 + np.exp(-(12 * cosines - 3)))
    )


def test_the_slope_and_intercept_behind_the_data_are_found() -> None:
    """From 20,000 labels drawn with a known curve, the fit comes within a few percent of it."""
    rng = np.random.default_rng(5)
    # Symmetric around the curve's middle, so that both classes are equally many.
    cosines = rng.uniform(0.0, 0.4, 20_000)
    fit = _fit(cosines, rng.random(20_000) < expit(25 * cosines - 5))
    assert (fit.a, fit.b) == (pytest.approx(25, rel=0.05), pytest.approx(-5, rel=0.05))


@pytest.mark.parametrize("n_matches", [2_000, 10_000, 18_000])
def test_scores_are_at_a_prior_of_one_half_whatever_the_share(n_matches: int) -> None:
    """For two normal classes the curve is known, and their counts do not move it."""
    a = (MATCHED - SWAPPED) / SPREAD**2
    b = (SWAPPED**2 - MATCHED**2) / (2 * SPREAD**2)
    fit = _fit(*_cosines(n_matches, 20_000 - n_matches, seed=6))
    assert (fit.a, fit.b) == (pytest.approx(a, rel=0.06), pytest.approx(b, rel=0.06))


def test_classes_that_hardly_overlap_are_not_flattened() -> None:
    """Nearly separable classes get the scores of plain maximum likelihood, also of few labels."""
    for n, seed, low in ((2000, 8, 0.08), (433, 9, 0.14)):
        rng = np.random.default_rng(seed)
        is_match = np.arange(2 * n) < n
        cosines = rng.normal(np.where(is_match, 0.36, low), np.where(is_match, 0.03, 0.07))
        plain = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(
            cosines.reshape(-1, 1) * 10, is_match
        )
        fit, at = _fit(cosines, is_match), np.linspace(0, 0.5, 200)
        assert fit.a == pytest.approx(10 * plain.coef_[0, 0], rel=0.01)
        np.testing.assert_allclose(
            fit.scores(at), plain.predict_proba(at.reshape(-1, 1) * 10)[:, 1], atol=0.005
        )


@pytest.mark.parametrize("times", [2, 10])
def test_repeating_one_class_changes_nothing(times: int) -> None:
    """Labels of one class over again leave the fit, but for the weak prior's part."""
    cosines, is_match = _cosines(2000, 2000)
    rows = np.concatenate([np.flatnonzero(~is_match), *[np.flatnonzero(is_match)] * times])
    once, often = _fit(cosines, is_match), _fit(cosines[rows], is_match[rows])
    assert (often.a, often.b) == (pytest.approx(once.a, rel=0.02), pytest.approx(once.b, rel=0.02))


@settings(max_examples=20)
@given(st.integers(1, 50), st.integers(1, 50), st.floats(1e-4, 0.5))
def test_classes_that_do_not_overlap_give_a_finite_slope(n: int, m: int, gap: float) -> None:
    """The prior keeps the slope finite, however few labels there are and far apart."""
    rng = np.random.default_rng(n * m)
    cosines = np.concatenate([gap * (1 + rng.random(n)), -gap * (1 + rng.random(m))])
    is_match = np.arange(n + m) < n
    fit = _fit(cosines, is_match)
    assert np.isfinite([fit.a, fit.b]).all()
    assert fit.a > 0
    assert fit.scores(cosines)[is_match].min() > 0.5 > fit.scores(cosines)[~is_match].max()


@settings(max_examples=12)
@given(scale=st.floats(0.01, 1.5), shift=st.floats(-0.1, 0.1), is_mirrored=st.booleans())
def test_another_scale_of_cosines_changes_no_score(
    scale: float, shift: float, is_mirrored: bool
) -> None:
    """Stretched and moved cosines get the slope and intercept that give the same scores."""
    cosines, is_match = _cosines(150, 90)
    scale = -scale if is_mirrored else scale
    plain, moved = _fit(cosines, is_match), _fit(scale * cosines + shift, is_match)
    assert moved.a == pytest.approx(plain.a / scale, rel=1e-4)
    assert moved.b == pytest.approx(plain.b - plain.a * shift / scale, rel=1e-4, abs=1e-3)
    np.testing.assert_allclose(
        moved.scores(scale * cosines + shift), plain.scores(cosines), atol=1e-5
    )


@pytest.mark.parametrize("cosine", [0.0, 0.1, -0.3])
def test_cosines_that_are_all_the_same_tell_nothing(cosine: float) -> None:
    """A model that says the same of every pair gets a flat curve at one half."""
    fit = _fit(np.full(90, cosine), np.arange(90) < 45)
    assert fit.a == pytest.approx(0, abs=1e-6)
    assert fit.b == pytest.approx(0, abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5), min_size=80, max_size=80))
def test_a_row_of_weight_k_is_k_equal_rows(seed: int, weights: list[int]) -> None:
    """Weights say how many pairs a row stands for: writing it so often fits the same curve."""
    cosines, is_match = _cosines(40, 40, seed=seed)
    rows = np.repeat(np.arange(80), weights)
    weighted = _fit(cosines, is_match, np.array(weights, dtype=np.float64))
    often = _fit(cosines[rows], is_match[rows])
    assert (weighted.a, weighted.b) == (
        pytest.approx(often.a, rel=1e-5),
        pytest.approx(often.b, rel=1e-5),
    )


@settings(max_examples=15)
@given(st.permutations(range(60)))
def test_the_order_of_rows_changes_nothing(order: list[int]) -> None:
    """The same labels in another order fit the same curve."""
    cosines, is_match = _cosines(30, 30)
    first, other = _fit(cosines, is_match), _fit(cosines[order], is_match[order])
    assert (other.a, other.b) == (
        pytest.approx(first.a, rel=1e-5),
        pytest.approx(first.b, rel=1e-5),
    )


class _Cosines(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose decision is the cosine itself."""

    def __init__(self) -> None:
        self.classes_ = np.array([False, True])

    def fit(self, cosines: Floats, is_match: Bools) -> "_Cosines":
        return self

    def decision_function(self, cosines: Floats) -> Floats:
        return cosines[:, 0]

    def predict(self, cosines: Floats) -> Bools:
        return cosines[:, 0] > 0.25


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator")  # nothing is fitted but the curve
@pytest.mark.parametrize("is_weighted", [False, True])
def test_scores_are_those_of_scikit_learn(is_weighted: bool) -> None:
    """Plain logistic regression and CalibratedClassifierCV say the same of balanced classes."""
    cosines, is_match = _cosines(1500, 6000, seed=9)
    rng = np.random.default_rng(9)
    weights = rng.choice([1.0, 4.0], len(cosines)) if is_weighted else np.ones(len(cosines))
    balanced = Labels.of(cosines, is_match, weights=weights).class_weights() * len(cosines)
    scores = _fit(cosines, is_match, weights).scores(cosines)
    column = cosines.reshape(-1, 1)
    plain = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(
        column, is_match, sample_weight=balanced
    )
    np.testing.assert_allclose(scores, plain.predict_proba(column)[:, 1], atol=1e-4)
    calibrated = CalibratedClassifierCV(FrozenEstimator(_Cosines()), method="sigmoid").fit(
        column, is_match, sample_weight=balanced
    )
    np.testing.assert_allclose(scores, calibrated.predict_proba(column)[:, 1], atol=2e-3)
