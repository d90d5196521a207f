"""From labels and a target to a threshold."""

from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats
from thresholds.artifact import Artifact, Choice, Interval
from thresholds.calibrate import DEFAULT_THRESHOLD, hash_of
from thresholds.guarantee import GRID, certified, flags_on, independent
from thresholds.labels import Labels
from thresholds.missing import Missing, missing_labels
from thresholds.parts import Parts
from thresholds.rates import Rates, rates_at
from thresholds.reliability import report_on
from thresholds.targets import Target


@dataclass(frozen=True, slots=True)
class Candidates:
    """Thresholds in rising order, and what each does on the labels to choose on; (c,) each."""

    thresholds: Floats
    recall: Floats
    false_positive_rate: Floats


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen, and how it does on the labels to report on.

    `threshold` and `rates` are None where no threshold reaches the target. `best` is what would
    have been chosen had the standard threshold not reached it too. `missing` says how many
    labels a guarantee needs beyond those there are, None if no number is enough; `tested_on`
    how many matches and mismatches count for it.
    """

    target: Target
    confidence: float | None
    threshold: float | None
    best: float | None
    rates: Rates | None
    missing: Missing | None
    tested_on: tuple[int, int]

    @property
    def keeps_default(self) -> bool:
        """Whether the standard threshold reaches the target, and so stays."""
        return self.threshold == DEFAULT_THRESHOLD


def choose(
    labels: Labels,
    parts: Parts,
    artifact: Artifact,
    target: Target,
    *,
    confidence: float | None = None,
) -> Chosen:
    """The best threshold that reaches a target on the part to choose on.

    With a confidence, one that reaches it on all posts that are like these labels, wrongly in
    `1 - confidence` of draws at most. The standard threshold is kept where it reaches it too.
    """
    curve = artifact.curve
    tested = parts.choosing
    missing: Missing | None = Missing(0, 0)
    if confidence is None:
        candidates = candidates_on(tested, curve.scores(tested.cosines))
        reached = target.is_met(candidates.recall, candidates.false_positive_rate)
        missing = missing if reached.any() else None
    else:
        tested = independent(tested, seed=artifact.seed)
        scores = curve.scores(tested.cosines)
        flags = flags_on(tested, scores)
        candidates = _at(GRID, tested, scores)
        reached = certified(target, flags, confidence=confidence)
        if not reached.any():
            missing = missing_labels(target, flags, labels, confidence=confidence)
    best = _best_of(candidates, np.flatnonzero(reached), target)
    threshold = best
    if bool(reached[candidates.thresholds == DEFAULT_THRESHOLD].any()):
        threshold = DEFAULT_THRESHOLD
    return Chosen(
        target,
        confidence,
        threshold,
        best,
        None if threshold is None else _report(parts.reporting, artifact, threshold, target),
        missing,
        (tested.matches, tested.mismatches),
    )


def candidates_on(labels: Labels, scores: Floats) -> Candidates:
    """A threshold between any two neighbouring scores, and the standard one.

    No other threshold flags another set of these labels.
    """
    distinct = np.unique(scores)
    between = (distinct[:-1] + distinct[1:]) / 2
    # The middle of two neighbouring numbers may round to the lower, which it then would not flag.
    between = np.where(between > distinct[:-1], between, distinct[1:])
    ends = [distinct[0] / 2, (distinct[-1] + 1) / 2, DEFAULT_THRESHOLD]
    thresholds = np.unique(np.concatenate([between, ends]))
    return _at(thresholds[(thresholds > 0) & (thresholds < 1)], labels, scores)


def _at(thresholds: Floats, labels: Labels, scores: Floats) -> Candidates:
    recall, false_positive_rate = (
        _shares_below(thresholds, scores[rows], labels.weights[rows])
        for rows in (~labels.is_match, labels.is_match)
    )
    return Candidates(thresholds, recall, false_positive_rate)


def _shares_below(thresholds: Floats, scores: Floats, weights: Floats) -> Floats:
    """The weight, as a share of all, of scores below each threshold."""
    order = np.argsort(scores)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    shares: Floats = below[np.searchsorted(scores[order], thresholds)] / below[-1]
    return shares


def _best_of(candidates: Candidates, rows: np.ndarray, target: Target) -> float | None:
    if not len(rows):
        return None
    at = target.best(candidates.recall[rows], candidates.false_positive_rate[rows])
    return float(candidates.thresholds[rows[at]])


def _report(labels: Labels, artifact: Artifact, threshold: float, target: Target) -> Rates:
    scores = artifact.curve.scores(labels.cosines)
    return rates_at(labels, scores, threshold, prevalence=target.prevalence)


def with_choice(artifact: Artifact, chosen: Chosen, labels: Labels, parts: Parts) -> Artifact:
    """The calibration with the threshold chosen, and why; its report is made anew.

    Raises `ValueError` when nothing was chosen.
    """
    if chosen.threshold is None or chosen.rates is None:
        raise ValueError("no threshold was chosen")
    matches, mismatches = chosen.tested_on
    choice = Choice(
        target=str(chosen.target),
        prevalence=chosen.target.prevalence,
        confidence=chosen.confidence,
        recall=chosen.rates.recall,
        precision=chosen.rates.precision,
        matches=matches,
        mismatches=mismatches,
        data_sha256=hash_of(labels),
    )
    report = report_on(
        parts.reporting, artifact.curve, threshold=chosen.threshold, seed=artifact.seed
    )
    return artifact.model_copy(
        update={"threshold": chosen.threshold, "choice": choice, "report": report}
    )


def reviews_a_day(rates: Rates, prevalence: float, posts_a_day: float) -> Interval:
    """How many posts a day are flagged at a prevalence; the ends of both rates together."""
    ends = [
        posts_a_day * (prevalence * recall + (1 - prevalence) * wrong)
        for recall, wrong in zip(_ends(rates.recall), _ends(rates.false_positive_rate), strict=True)
    ]
    return Interval(point=ends[0], lower=ends[1], upper=ends[2])


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.point, interval.lower, interval.upper
