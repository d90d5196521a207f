"""How good a calibration is on labels that it has not seen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from moderation.curves import Curve, Floats
from thresholds.artifact import Interval, Report
from thresholds.labels import Bools, Ints, Labels
from thresholds.rates import rates_at

_BINS = 10
_RESAMPLES = 500
_CONFIDENCE = 0.95


def report_on(
    labels: Labels,
    curve: Curve,
    *,
    threshold: float,
    seed: int,
    on_resampled: Callable[[], object] = lambda: None,
) -> Report:
    """Figures on held-out labels, with classes weighted to a prior of 0.5.

    Intervals are 95 %, by image: Wilson's for rates, the bootstrap's for the AUC. Within a class
    pairs weigh as `labels.weights` has them, also in the rates. `on_resampled` is called as the
    bootstrap goes on.
    """
    scores, is_match = curve.scores(labels.cosines), labels.is_match
    weights = labels.class_weights()
    rates = rates_at(labels, scores, threshold, prevalence=0.5)
    return Report(
        n=len(labels),
        expected_calibration_error=expected_calibration_error(scores, is_match, weights),
        brier_score=float(brier_score_loss(is_match, scores, sample_weight=weights)),
        log_loss=float(log_loss(is_match, scores, sample_weight=weights)),
        auc=_auc(scores, labels, seed, on_resampled),
        recall=rates.recall,
        false_positive_rate=rates.false_positive_rate,
    )


def expected_calibration_error(scores: Floats, is_match: Bools, weights: Floats) -> float:
    """Mean distance of score and share of matches over ten bins of equal weight.

    Naeini, Cooper and Hauskrecht (2015), with quantile bins. Equal scores stay together, so
    neither the order of rows nor writing one twice instead of weighing it double changes it.
    """
    gaps = calibration_gaps(scores, is_match, weights, score_bins(scores, weights))
    return float(np.abs(gaps).sum())


def score_bins(scores: Floats, weights: Floats) -> Ints:
    """The bin, 0 to 9, of each score, (n,): ten bins of equal weight."""
    _, value_of = np.unique(scores, return_inverse=True)
    weight = np.bincount(value_of, weights)
    # A score belongs to the bin in which the middle of its weight lies.
    place = (np.cumsum(weight) - weight / 2) / weight.sum()
    bins: Ints = np.minimum((place * _BINS).astype(np.int64), _BINS - 1)[value_of]
    return bins


def calibration_gaps(scores: Floats, is_match: Bools, weights: Floats, bins: Ints) -> Floats:
    """By how much scores are above the share of matches in each bin, (10,), as shares of all."""
    gaps: Floats = np.bincount(bins, weights * (scores - is_match), _BINS) / weights.sum()
    return gaps


def _auc(scores: Floats, labels: Labels, seed: int, on_resampled: Callable[[], object]) -> Interval:
    rng = np.random.default_rng(seed)
    images = labels.image_numbers()
    # Scores in the place of cosines, which they are no more needed for.
    scored = replace(labels, cosines=scores)
    resampled = []
    for _ in range(_RESAMPLES):
        sample = scored.resampled(rng, images)
        if sample.matches and sample.mismatches:
            resampled.append(_auc_of(sample))
        on_resampled()
    lower, upper = np.quantile(resampled, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Interval(point=_auc_of(scored), lower=float(lower), upper=float(upper))


def _auc_of(scored: Labels) -> float:
    return float(roc_auc_score(scored.is_match, scored.cosines, sample_weight=scored.weights))
