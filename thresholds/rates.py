"""Recall and false-positive rate, and what follows from them at a stated prevalence.

Flagged means a score below the threshold, and the positive class is the mismatch: recall is the
share of mismatches flagged, the false-positive rate that of matches. Both survive a change of
prevalence; precision, accuracy and F1 do not, so those always come at a stated one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from moderation.curves import Floats
from thresholds.artifact import Interval
from thresholds.labels import Bools, Labels, Names

_Z = float(norm.ppf(0.975))


@dataclass(frozen=True, slots=True)
class Rates:
    """What a threshold does, with 95 % intervals; precision, accuracy and F1 at a prevalence."""

    recall: Interval
    false_positive_rate: Interval
    precision: Interval
    accuracy: Interval
    f1: Interval


def rates_at(labels: Labels, scores: Floats, threshold: float, *, prevalence: float) -> Rates:
    """The rates of a threshold on labels with match scores, (n,), of both classes."""
    flagged = scores < threshold
    recall, false_positive_rate = (
        share(flagged[rows], labels.weights[rows], labels.images[rows])
        for rows in (~labels.is_match, labels.is_match)
    )
    return Rates(
        recall,
        false_positive_rate,
        _precision(recall, false_positive_rate, prevalence),
        _accuracy(recall, false_positive_rate, prevalence),
        _f1(recall, false_positive_rate, prevalence),
    )


def precision_at(recall: Floats, false_positive_rate: Floats, prevalence: float) -> Floats:
    """Precision `p R / (p R + (1 - p) FPR)`, (n,); 0 where nothing is flagged, as scikit-learn."""
    hits = prevalence * recall
    flagged = hits + (1 - prevalence) * false_positive_rate
    return np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)


def share(hits: Bools | Floats, weights: Floats, images: Names) -> Interval:
    """The weighted share of hits, (n,) each, with Wilson's interval (1927).

    A hit may be a part of one, between 0 and 1.

    Its n is the effective one of Korn and Graubard (1998), `p (1 - p) / V` with V the variance
    between images: pairs of one image, and unequal weights, tell less than as many of their
    own. Pairs of equal weight with an image each count in full.
    """
    point = float(np.average(hits, weights=weights))
    n = _effective_n(hits.astype(np.float64) - point, weights, images)
    middle = (point + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(point * (1 - point) / n + _Z**2 / (4 * n**2))
    # Rounding may leave an end a little outside.
    lower, upper = max(0.0, middle - half), min(1.0, middle + half)
    return Interval(point=point, lower=min(lower, point), upper=max(upper, point))


def _effective_n(deviations: Floats, weights: Floats, images: Names) -> float:
    _, image_of = np.unique(images, return_inverse=True)
    spread = float((np.bincount(image_of, weights * deviations) ** 2).sum())
    variance = float(np.average(deviations**2, weights=weights))
    if min(spread, variance) < 1e-12:
        # All or none are hits: no variance to see, so pairs of an image count as one (Kish, 1965).
        return float(weights.sum() ** 2 / (np.bincount(image_of, weights) ** 2).sum())
    return min(float(len(weights)), variance * float(weights.sum()) ** 2 / spread)


def _precision(recall: Interval, false_positive_rate: Interval, prevalence: float) -> Interval:
    wrong = _scaled(false_positive_rate, 1 - prevalence)
    return _one_over_one_plus(wrong, _scaled(recall, prevalence))


def _f1(recall: Interval, false_positive_rate: Interval, prevalence: float) -> Interval:
    """`2 p R / (p R + p + (1 - p) FPR)`, which is 2 / (1 + (p + (1 - p) FPR) / (p R))."""
    rest = _scaled(false_positive_rate, 1 - prevalence, plus=prevalence)
    half = _scaled(_one_over_one_plus(rest, _scaled(recall, prevalence)), 2)
    return Interval(point=half.point, lower=half.lower, upper=min(1.0, half.upper))


def _accuracy(recall: Interval, false_positive_rate: Interval, prevalence: float) -> Interval:
    """`p R + (1 - p)(1 - FPR)`, with the limits of Zou and Donner (2008)."""
    hits, wrong = _scaled(recall, prevalence), _scaled(false_positive_rate, 1 - prevalence)
    point = hits.point + (1 - prevalence) - wrong.point
    down = np.hypot(hits.point - hits.lower, wrong.upper - wrong.point)
    up = np.hypot(hits.upper - hits.point, wrong.point - wrong.lower)
    return Interval(point=point, lower=max(0.0, point - down), upper=min(1.0, point + up))


def _scaled(interval: Interval, by: float, *, plus: float = 0.0) -> Interval:
    return Interval(
        point=plus + by * interval.point,
        lower=plus + by * interval.lower,
        upper=plus + by * interval.upper,
    )


def _one_over_one_plus(above: Interval, below: Interval) -> Interval:
    """`1 / (1 + above / below)`, with the limits of Donner and Zou (2012) for the ratio.

    They come from the limits of both, which are taken for independent: also where a rate is 0
    they are wide, where a bootstrap would see no variance. 0, from 0 to 1, if `below` is 0.
    """
    if below.point <= 0:
        return Interval(point=0.0, lower=0.0, upper=1.0)
    low = _ratio_limit(above.point, above.lower, below.point, below.upper, sign=-1)
    high = _ratio_limit(above.point, above.upper, below.point, below.lower, sign=1)
    point = 1 / (1 + above.point / below.point)
    return Interval(
        point=point, lower=min(point, 1 / (1 + high)), upper=max(point, 1 / (1 + max(0.0, low)))
    )


def _ratio_limit(above: float, its_limit: float, below: float, other: float, sign: int) -> float:
    product = above * below
    # Beyond 2 of the estimate the limit of the denominator reaches 0: nothing is excluded.
    scale = other * (2 * below - other)
    if scale <= 0:
        return float("inf") if sign > 0 else 0.0
    root = product**2 - its_limit * (2 * above - its_limit) * scale
    return (product + sign * float(np.sqrt(max(0.0, root)))) / scale
