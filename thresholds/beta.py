"""Beta calibration: like Platt's, but the curve may bend differently at its two ends."""

import numpy as np

from moderation.curves import Beta, Floats
from thresholds.labels import Labels
from thresholds.platt import fit_logistic, standardised


def fit_beta(labels: Labels) -> Beta:
    """Fit `logit = a ln p - b ln(1 - p) + c` with `p = (1 + cosine) / 2` and a, b >= 0.

    Kull, Silva Filho and Flach (2017): logistic regression on the two logarithms; where a
    slope comes out negative, its term is dropped and the other one fitted alone. Weights, and
    the weak prior on slopes, are those of `fit_platt`. Where the curve falls, as for reversed
    classes, both slopes are 0 or the one that is left is not above 0.
    """
    # The curve's own edge: a cosine of 1 has no logarithm.
    shares = np.clip((1 + labels.cosines) / 2, 1e-9, 1 - 1e-9)
    features = np.column_stack([np.log(shares), -np.log1p(-shares)])
    slopes, c = _fit(features, labels, [0, 1])
    if (slopes < 0).any():
        # With both negative the classes are reversed, and so is whichever is left.
        slopes, c = _fit(features, labels, [int(np.argmax(slopes))])
    return Beta(a=float(slopes[0]), b=float(slopes[1]), c=c)


def _fit(features: Floats, labels: Labels, kept: list[int]) -> tuple[Floats, float]:
    """Slopes, (2,), of which those not kept are 0, and the intercept."""
    scaled = standardised(features[:, kept], labels.weights)
    fitted, intercept = fit_logistic(scaled.values, labels)
    slopes = np.zeros(2)
    slopes[kept] = fitted / scaled.scales
    return slopes, intercept - float(slopes[kept] @ scaled.centres)
