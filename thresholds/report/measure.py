"""From labels and a calibration to the figures of its report."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from sklearn.metrics import roc_curve

from moderation.curves import Curve, Floats
from thresholds.artifact import Artifact, Interval
from thresholds.calibrate import hash_of
from thresholds.choose import reviews_a_day
from thresholds.evaluate import evaluate, own_prevalence
from thresholds.held_out import unseen
from thresholds.labels import Bools, Ints, Labels
from thresholds.rates import Rates, rates_at, share
from thresholds.reliability import score_bins
from thresholds.report.figures import (
    MOST_MISTAKES,
    AtPrevalence,
    Counts,
    Figures,
    Group,
    Histogram,
    Kind,
    Mistake,
    OperatingPoint,
    Point,
    PrevalenceSource,
    Reliability,
)

POSTS = 1000.0

# More points than a picture has units across show nothing.
_MOST_POINTS = 400
_HISTOGRAM_BINS = 40
_SCORE_BINS = 20
_PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)
_RECALLS = (0.5, 0.8, 0.9, 0.95, 0.99)


def measure(
    labels: Labels,
    artifact: Artifact,
    *,
    name: str,
    prevalence: float | None = None,
    traffic_per_day: float | None = None,
    on_resample: Callable[[], None] = lambda: None,
) -> Figures:
    """The figures of a calibration on the part of the labels that is set aside for reports.

    Without a prevalence it is the one that the threshold was chosen for, else that of these
    labels. Raises `InputRefused` for too few labels.
    """
    is_held = unseen(labels, [artifact], fresh=False)
    held = labels.take(is_held)
    share_of_posts, source = _prevalence(prevalence, artifact, held)
    posts = POSTS if traffic_per_day is None else traffic_per_day
    scores = artifact.curve.scores(held.cosines)
    evaluation = evaluate(held, artifact, prevalence=share_of_posts, on_resample=on_resample)
    at = _operating_point(evaluation.rates, artifact, share_of_posts, posts)
    curve = _Curve.of(held, scores, prevalence=share_of_posts, posts=posts)
    wrong = (scores < artifact.threshold) == held.is_match
    mistakes = partial(_mistakes, held, scores, np.flatnonzero(is_held))
    return Figures(
        model=artifact.model,
        calibration=artifact.version,
        labels_name=name,
        is_own_data=hash_of(labels) == artifact.data_sha256,
        labels=_counts(held),
        labels_in_all=_counts(labels),
        is_weighted=bool(np.ptp(held.weights) > 0),
        prevalence=share_of_posts,
        prevalence_source=source,
        traffic_per_day=traffic_per_day,
        posts=posts,
        auc=evaluation.auc,
        operating_point=at,
        precision_by_prevalence=tuple(
            AtPrevalence(
                prevalence=each,
                precision=_precision_interval(
                    rates_at(held, scores, artifact.threshold, prevalence=each)
                ),
            )
            for each in sorted({*_PREVALENCES, share_of_posts})
        ),
        curve=curve.thinned(),
        alternatives=tuple(curve.first_reaching(recall) for recall in _RECALLS),
        histogram=_histogram(held, artifact.curve, at.cosine),
        reliability=_reliability(held, scores, evaluation.expected_calibration_error),
        score_counts=tuple(np.histogram(scores, _SCORE_BINS, (0, 1))[0].tolist()),
        kinds=tuple(
            Kind(kind=of.kind, is_match=of.is_match, n=of.n, auc=of.auc, flagged=of.flagged)
            for of in evaluation.kinds
        ),
        matches_flagged=int((wrong & held.is_match).sum()),
        mismatches_passed=int((wrong & ~held.is_match).sum()),
        flagged_matches=mistakes(wrong & held.is_match),
        passed_mismatches=mistakes(wrong & ~held.is_match),
    )


def _prevalence(
    given: float | None, artifact: Artifact, labels: Labels
) -> tuple[float, PrevalenceSource]:
    if given is not None:
        return given, "given"
    if artifact.choice is not None:
        return artifact.choice.prevalence, "choice"
    return own_prevalence(labels), "labels"


def _counts(labels: Labels) -> Counts:
    return Counts(n=len(labels), matches=labels.matches, mismatches=labels.mismatches)


@dataclass(frozen=True, slots=True)
class _Curve:
    """What each threshold would do, (n,) each, the strictest first; one for each distinct score."""

    thresholds: Floats
    recalls: Floats
    false_positive_rates: Floats
    prevalence: float
    posts: float

    @classmethod
    def of(cls, labels: Labels, scores: Floats, *, prevalence: float, posts: float) -> Self:
        false, true, thresholds = roc_curve(
            ~labels.is_match, -scores, sample_weight=labels.weights, drop_intermediate=False
        )
        # A threshold flags what lies below it, so the next score up is the one to set.
        return cls(np.append(-thresholds[1:], 1.0), true, false, prevalence, posts)

    def point(self, index: int) -> Point:
        """One of its thresholds."""
        recall, rate = float(self.recalls[index]), float(self.false_positive_rates[index])
        flagged = self.prevalence * recall + (1 - self.prevalence) * rate
        return Point(
            threshold=float(self.thresholds[index]),
            recall=recall,
            false_positive_rate=rate,
            precision=self.prevalence * recall / flagged if flagged else None,
            reviews=self.posts * flagged,
        )

    def thinned(self) -> tuple[Point, ...]:
        """As many of its points as a picture shows."""
        indices = np.arange(len(self.thresholds))
        if len(indices) > _MOST_POINTS:
            # Equal steps along both axes: neither the steep nor the level part is lost.
            way = self.recalls + self.false_positive_rates
            indices = np.unique(np.searchsorted(way, np.linspace(0, way[-1], _MOST_POINTS)))
        return tuple(self.point(int(index)) for index in indices)

    def first_reaching(self, recall: float) -> Point:
        """The cheapest threshold with at least a recall."""
        # The recalls of whole classes are sums of floats: 0.8 may be 0.7999999999999999.
        return self.point(int(np.searchsorted(self.recalls, recall - 1e-9)))


def _operating_point(
    rates: Rates, artifact: Artifact, prevalence: float, posts: float
) -> OperatingPoint:
    return OperatingPoint(
        threshold=artifact.threshold,
        cosine=cosine_at(artifact.curve, artifact.threshold),
        recall=rates.recall,
        false_positive_rate=rates.false_positive_rate,
        precision=_precision_interval(rates),
        accuracy=rates.accuracy,
        reviews=reviews_a_day(rates, prevalence, posts),
    )


def _precision_interval(rates: Rates) -> Interval | None:
    """Of the precision; None where nothing is flagged, so that nothing can be right or wrong."""
    if rates.recall.point == rates.false_positive_rate.point == 0:
        return None
    return rates.precision


def _histogram(labels: Labels, curve: Curve, cosine: float) -> Histogram:
    """Bins of equal width, one of whose edges is the threshold's cosine: none straddles it."""
    low, high = float(labels.cosines.min()), float(labels.cosines.max())
    width = max(high - low, 1e-3) / _HISTOGRAM_BINS
    below, above = math.ceil((cosine - low) / width), math.floor((high - cosine) / width) + 1
    steps = np.arange(-max(below, 0), max(above, 0) + 1, dtype=np.float64)
    edges: Floats = cosine + width * steps
    matches, mismatches = (
        np.histogram(labels.cosines[rows], edges, weights=labels.weights[rows])[0]
        / labels.weights[rows].sum()
        for rows in (labels.is_match, ~labels.is_match)
    )
    return Histogram(
        cosine_edges=tuple(edges.tolist()),
        score_edges=tuple(curve.scores(edges).tolist()),
        matches=tuple(matches.tolist()),
        mismatches=tuple(mismatches.tolist()),
    )


def cosine_at(curve: Curve, score: float) -> float:
    """The lowest cosine whose match score reaches `score`; -1 or 1 where none is met."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if curve.score(middle) < score else (low, middle)
    return high


def _reliability(labels: Labels, scores: Floats, error: Interval) -> Reliability:
    """The groups whose gaps make up the expected calibration error; ties may leave some empty."""
    weights = len(labels) * labels.class_weights()
    bins = score_bins(scores, weights)
    groups = [np.flatnonzero(bins == group) for group in np.unique(bins)]
    return Reliability(
        groups=tuple(
            Group(
                n=len(rows),
                score=float(np.average(scores[rows], weights=weights[rows])),
                matches=share(labels.is_match[rows], weights[rows], labels.images[rows]),
            )
            for rows in groups
        ),
        expected_calibration_error=error,
    )


def _mistakes(labels: Labels, scores: Floats, rows: Ints, wrong: Bools) -> tuple[Mistake, ...]:
    """The worst of one class: matches by their lowest score, mismatches by their highest."""
    sign = np.where(labels.is_match, 1, -1)
    found = np.flatnonzero(wrong)
    worst = found[np.argsort((sign * scores)[found], kind="stable")][:MOST_MISTAKES]
    return tuple(
        Mistake(
            row=int(rows[index]),
            kind=str(labels.kinds[index]),
            cosine=float(labels.cosines[index]),
            score=float(scores[index]),
        )
        for index in worst
    )
