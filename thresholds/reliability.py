"""How good a calibration is on labels that it has not seen."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from moderation.curves import Curve, Floats
from thresholds.artifact import Interval, Report
from thresholds.labels import Bools, Labels, Names

_BINS = 10
_RESAMPLES = 500
_CONFIDENCE = 0.95


def report_on(labels: Labels, curve: Curve, *, threshold: float, seed: int) -> Report:
    """Figures on held-out labels, with classes weighted to a prior of 0.5.

    Intervals are 95 %: Wilson for rates, bootstrap by image for the AUC.
    """
    scores, is_match = curve.scores(labels.cosines), labels.is_match
    weights = labels.class_weights()
    flagged = scores < threshold
    return Report(
        n=len(labels),
        expected_calibration_error=expected_calibration_error(scores, is_match, weights),
        brier_score=float(brier_score_loss(is_match, scores, sample_weight=weights)),
        log_loss=float(log_loss(is_match, scores, sample_weight=weights)),
        auc=_auc(scores, is_match, labels.images, seed),
        recall=_rate(flagged[~is_match]),
        false_positive_rate=_rate(flagged[is_match]),
    )


def expected_calibration_error(scores: Floats, is_match: Bools, weights: Floats) -> float:
    """Mean distance of score and share of matches over ten bins of equal count.

    Naeini, Cooper and Hauskrecht (2015), with quantile bins and weights.
    """
    order = np.argsort(scores, kind="stable")
    total = weights.sum()
    error = 0.0
    for members in np.array_split(order, _BINS):
        weight = weights[members].sum()
        if weight > 0:
            said = np.average(scores[members], weights=weights[members])
            true = np.average(is_match[members], weights=weights[members])
            error += weight / total * abs(said - true)
    return float(error)


def _rate(hits: Bools) -> Interval:
    test = binomtest(int(hits.sum()), len(hits))
    interval = test.proportion_ci(_CONFIDENCE, method="wilson")
    return Interval(point=test.statistic, lower=interval.low, upper=interval.high)


def _auc(scores: Floats, is_match: Bools, images: Names, seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    _, image_of = np.unique(images, return_inverse=True)
    members = [np.flatnonzero(image_of == image) for image in range(image_of.max() + 1)]
    resampled = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, len(members), len(members))
        rows = np.concatenate([members[index] for index in chosen])
        if 0 < is_match[rows].sum() < len(rows):
            resampled.append(roc_auc_score(is_match[rows], scores[rows]))
    lower, upper = np.quantile(resampled, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    point = float(roc_auc_score(is_match, scores))
    return Interval(point=point, lower=float(lower), upper=float(upper))
