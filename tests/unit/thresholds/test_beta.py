"""Beta calibration: the maximum of its likelihood, with slopes that never fall."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from moderation.curves import Beta, Floats
from thresholds.beta import fit_beta
from thresholds.labels import Bools, Labels


def _labels(n: int = 2000, *, bend: float = 0.0, seed: int = 0) -> Labels:
    """Draw labels of known chances: of a straight logit, or of one that bends."""
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-0.6, 0.6, n)
    return Labels.of(cosines, rng.random(n) < expit(6 * cosines + bend * cosines**2))


def _loss(slopes: Floats, c: float, cosines: Floats, is_match: Bools) -> float:
    """Minus the mean log likelihood, half of the weight on either class, with the weak prior."""
    logs = np.column_stack([np.log((1 + cosines) / 2), -np.log((1 - cosines) / 2)])
    logits = logs @ slopes + c
    losses = np.where(is_match, np.logaddexp(0, -logits), np.logaddexp(0, logits))
    prior = ((slopes * logs.std(axis=0)) ** 2).sum() / (2 * 1000 * len(cosines))
    return float(0.5 * losses[is_match].mean() + 0.5 * losses[~is_match].mean() + prior)


@pytest.mark.parametrize(("bend", "kept"), [(0.0, "both"), (6.0, "b"), (-6.0, "a")])
def test_the_fit_is_the_best_with_slopes_not_below_0(bend: float, kept: str) -> None:
    """An optimiser with bounds finds nothing better, whether both slopes stay or only one."""
    labels = _labels(bend=bend)
    best = minimize(
        lambda x: _loss(x[:2], x[2], labels.cosines, labels.is_match),
        x0=[1.0, 1.0, 0.0],
        bounds=[(0, None), (0, None), (None, None)],
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    fit = fit_beta(labels)
    found = _loss(np.array([fit.a, fit.b]), fit.c, labels.cosines, labels.is_match)
    assert found <= best.fun + 1e-9
    assert [fit.a, fit.b, fit.c] == pytest.approx(best.x, abs=1e-2)
    assert {"both": min(fit.a, fit.b) > 0, "a": fit.b == 0, "b": fit.a == 0}[kept]


def test_the_curve_behind_the_data_is_found() -> None:
    """From 50,000 labels drawn with a known curve of this family, the fit gives its scores."""
    rng = np.random.default_rng(3)
    true = Beta(a=9, b=3, c=2.5)
    cosines = rng.uniform(-0.5, 0.7, 50_000)
    is_match = rng.random(50_000) < true.scores(cosines)
    # At a prior of one half, the logit moves by that of the share of matches.
    share = is_match.mean()
    moved = Beta(true.a, true.b, true.c - np.log(share / (1 - share)))
    at = np.linspace(-0.45, 0.65, 30)
    fit = fit_beta(Labels.of(cosines, is_match))
    np.testing.assert_allclose(fit.scores(at), moved.scores(at), atol=0.02)


def test_a_cosine_of_1_has_a_score() -> None:
    """The ends of the scale have no logarithm, and still leave the fit finite."""
    cosines = np.concatenate([np.full(40, 1.0), np.full(40, -1.0), np.linspace(-0.5, 0.5, 40)])
    fit = fit_beta(Labels.of(cosines, cosines > 0.1))
    assert np.isfinite([fit.a, fit.b, fit.c]).all()
    assert 0 < fit.score(-1.0) < fit.score(1.0) <= 1
