"""How good a calibration and its threshold are on labels that it has not seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats
from thresholds.artifact import Artifact, Interval
from thresholds.labels import Bools, Labels
from thresholds.rates import Rates, rates_at, share
from thresholds.reliability import calibration_gaps, score_bins
from thresholds.resampling import Ranking, resampled_weights

# At which the match score is a probability, so at which its reliability is measured.
_SCORE_PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class KindFigures:
    """One kind of pairs; `flagged` is recall for mismatches, false-positive rate for matches.

    `auc` is that of a kind of mismatches against all matches, `auc_in_image` against those of
    the same image only: a caption with a word changed against the caption as it was. It is None
    where no image of the kind has a match.
    """

    kind: str
    is_match: bool
    n: int
    flagged: Interval
    auc: Interval | None
    auc_in_image: Interval | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures with 95 % intervals; Brier score and calibration error at the prior of 0.5."""

    threshold: float
    prevalence: float
    matches: int
    mismatches: int
    images: int
    rates: Rates
    auc: Interval
    brier_score: Interval
    expected_calibration_error: Interval
    kinds: tuple[KindFigures, ...]


def evaluate(
    labels: Labels,
    artifact: Artifact,
    *,
    prevalence: float,
    on_resample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Measure a calibration at its threshold; intervals need `RESAMPLES` resamples by image."""
    scores = artifact.curve.scores(labels.cosines)
    ranking = Ranking(scores, labels)
    reliability = _Reliability(scores, labels)
    masks = [~labels.is_match, *(rows for _, _, rows in kinds_of(labels, matches=False))]

    aucs, briers, deviations = [], [], []
    for weights in resampled_weights(labels, seed=artifact.seed):
        aucs.append([ranking.auc(weights, rows) for rows in masks])
        briers.append(reliability.brier(weights))
        deviations.append(reliability.deviation(weights))
        on_resample()
    auc, *auc_of = [
        _percentiles(ranking.auc(labels.weights, rows), drawn)
        for rows, drawn in zip(masks, np.array(aucs).T, strict=True)
    ]
    return Evaluation(
        threshold=artifact.threshold,
        prevalence=prevalence,
        matches=labels.matches,
        mismatches=labels.mismatches,
        images=len(np.unique(labels.images)),
        rates=rates_at(labels, scores, artifact.threshold, prevalence=prevalence),
        auc=auc,
        brier_score=_percentiles(reliability.brier(labels.weights), np.array(briers)),
        expected_calibration_error=reliability.error(np.array(deviations)),
        kinds=tuple(_kinds(labels, scores, scores < artifact.threshold, auc_of)),
    )


def kinds_of(labels: Labels, *, matches: bool) -> Iterator[tuple[str, bool, Bools]]:
    """Name, class and rows, a mask (n,), of each kind of a class."""
    of_class = labels.is_match if matches else ~labels.is_match
    for kind in np.unique(labels.kinds[of_class]):
        yield str(kind), matches, of_class & (labels.kinds == kind)


def own_prevalence(labels: Labels) -> float:
    """The share of mismatches of the labels themselves, by weight."""
    return float(np.average(~labels.is_match, weights=labels.weights))


def _kinds(
    labels: Labels, scores: Floats, flagged: Bools, auc_of: list[Interval]
) -> Iterator[KindFigures]:
    aucs = iter(auc_of)
    above = matches_above(labels, scores)
    for matches in (False, True):
        for kind, is_match, rows in kinds_of(labels, matches=matches):
            rate = share(flagged[rows], labels.weights[rows], labels.images[rows])
            auc = in_image = None
            if not is_match:
                auc = next(aucs)
                paired = rows & np.isfinite(above)
                if paired.any():
                    in_image = share(above[paired], labels.weights[paired], labels.images[paired])
            yield KindFigures(kind, is_match, int(rows.sum()), rate, auc, in_image)


def matches_above(labels: Labels, scores: Floats) -> Floats:
    """The share, (n,), of matches of a pair's own image that score above it; ties count half.

    By weight; NaN where the image has no match.
    """
    images = labels.image_numbers()
    values, value_of = np.unique(scores, return_inverse=True)
    # In the order of images and, within each, of scores.
    _, place_of = np.unique(images * len(values) + value_of, return_inverse=True)
    weights = labels.weights * labels.is_match
    at_place = np.bincount(place_of, weights)
    of_image = np.bincount(images, weights)
    up_to_place, up_to_image = np.cumsum(at_place), np.cumsum(of_image)
    above = up_to_image[images] - up_to_place[place_of] + at_place[place_of] / 2
    has_match = of_image[images] > 0
    shares = np.full(len(labels), np.nan)
    # Sums of floats may leave a share a little outside.
    shares[has_match] = np.clip(above[has_match] / of_image[images][has_match], 0, 1)
    return shares


def _percentiles(point: float, drawn: Floats) -> Interval:
    """The percentile interval; a kind that a resample does not draw says nothing in it."""
    lower, upper = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(point=point, lower=min(float(lower), point), upper=max(float(upper), point))


class _Reliability:
    """Brier score and calibration error of many weightings of the same labels."""

    def __init__(self, scores: Floats, labels: Labels) -> None:
        self._scores, self._is_match = scores, labels.is_match
        weights = self._balanced(labels.weights)
        self._bins = score_bins(scores, weights)
        self._gaps = calibration_gaps(scores, self._is_match, weights, self._bins)

    def brier(self, weights: Floats) -> float:
        """Mean squared distance of score and label."""
        squares = (self._scores - self._is_match) ** 2
        return float(np.average(squares, weights=self._balanced(weights)))

    def deviation(self, weights: Floats) -> float:
        """How far the gaps of all bins together are from those of the labels themselves."""
        weights = self._balanced(weights)
        gaps = calibration_gaps(self._scores, self._is_match, weights, self._bins)
        return float(np.abs(gaps - self._gaps).sum())

    def error(self, deviations: Floats) -> Interval:
        """The expected calibration error, give or take how far chance moves the gaps.

        The estimate is too high where the true one is near 0, and so are its resamples, so
        percentiles would miss it. By the triangle inequality the true error is no farther from
        the estimate than the gaps are from theirs, which 95 % of deviations say.
        """
        point = float(np.abs(self._gaps).sum())
        reach = float(np.quantile(deviations, 0.95))
        return Interval(point=point, lower=max(0.0, point - reach), upper=min(1.0, point + reach))

    def _balanced(self, weights: Floats) -> Floats:
        """Weights that give each class its share at the prior of the match score."""
        total = np.where(
            self._is_match, weights[self._is_match].sum(), weights[~self._is_match].sum()
        )
        prior = np.where(self._is_match, 1 - _SCORE_PRIOR, _SCORE_PRIOR)
        balanced: Floats = prior * weights / total
        return balanced
