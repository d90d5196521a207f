"""Platt scaling of cosines: `P(match) = sigmoid(a * cosine + b)` at a prior of 0.5."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Platt:
    """Slope and intercept of a fitted calibration."""

    a: float
    b: float

    def scores(self, cosines: Floats) -> Floats:
        """Match scores, (n,), of cosines, (n,)."""
        scores: Floats = expit(self.a * cosines + self.b)
        return scores


def fit_platt(cosines: Floats, is_match: Bools) -> Platt:
    """Fit by maximum likelihood with both classes weighing the same, whatever their counts.

    The targets are smoothed as in Platt (1999), "Probabilistic outputs for support vector
    machines": (n+1)/(n+2) and 1/(m+2), so that classes that do not overlap still give a
    finite slope.
    """
    matches, mismatches = int(is_match.sum()), int((~is_match).sum())
    target = np.where(is_match, (matches + 1) / (matches + 2), 1 / (mismatches + 2))
    weight = np.where(is_match, 0.5 / matches, 0.5 / mismatches) * len(cosines)
    # A soft target is the same as both labels, weighted; centred and scaled, the solver converges.
    centre = float(cosines.mean())
    # Cosines that are all the same tell nothing: the slope is 0.
    scale = float(cosines.std()) if np.ptp(cosines) > 0 else 1.0
    feature = ((cosines - centre) / scale).reshape(-1, 1)
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.concatenate([feature, feature]),
        np.concatenate([np.ones(len(cosines)), np.zeros(len(cosines))]),
        sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
    )
    slope = float(model.coef_[0, 0]) / scale
    return Platt(a=slope, b=float(model.intercept_[0]) - slope * centre)
