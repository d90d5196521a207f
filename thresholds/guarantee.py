"""Thresholds that reach a target with a stated confidence, whatever the scores' distribution.

Learn then test (Angelopoulos et al., 2022) with MAPIE's p-values and its fixed sequence. MAPIE
knows precision at the labels' own prevalence only. Recall and false-positive rate hold at any,
and precision at least P at prevalence p follows from two of their bounds:

    recall >= r  and  FPR <= r p (1 - P) / (P (1 - p)).

Both rates rise with the threshold, so each bound is a fixed sequence of its own and costs
nothing for the number of thresholds tried, where testing precision itself would need Holm's
correction for each. Measured with two normal classes 3 apart, recall .895 and precision .85 at
a prevalence of .5: 34 / 83 / 100 / 100 % of draws with 100 / 200 / 400 / 800 labels a class get
a guarantee, against 1 / 12 / 63 / 99 % with Holm over 100 thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from moderation.curves import Floats
from thresholds.calibrate import DEFAULT_THRESHOLD
from thresholds.labels import Bools, Labels
from thresholds.targets import Target

# Fixed beforehand, as the sequences need: steps of 0.05 on the logit of the score.
GRID: Floats = np.unique(np.append(expit(np.linspace(-12, 12, 481)), DEFAULT_THRESHOLD))

# Recalls at which a least precision alone is tried, each for its share of the error.
_RECALLS = (0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.35)
# Recalls up to which a capacity is tried, as shares of the most that it has room for.
_MOST_RECALLS = (1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of both rates from which a target follows; None where there is none to test."""

    recall_min: float | None = None
    recall_max: float | None = None
    false_positive_rate_max: float | None = None

    @property
    def sequences(self) -> int:
        """How many fixed sequences it takes: one up the thresholds, one down."""
        up = self.recall_max is not None or self.false_positive_rate_max is not None
        return int(up) + int(self.recall_min is not None)


@dataclass(frozen=True, slots=True)
class Flags:
    """Flagged labels of each class at each threshold of the grid, (g,), and all there are."""

    mismatches_flagged: Floats
    matches_flagged: Floats
    mismatches: int
    matches: int


def bounds_for(target: Target) -> list[Bounds]:
    """Bounds that each imply the target; they do not depend on any label."""
    p = target.prevalence
    if target.flags_max is not None:
        most = [min(1.0, target.flags_max / p) * r for r in _MOST_RECALLS]
        rooms = [(target.flags_max - p * r) / (1 - p) for r in most]
        return [
            Bounds(recall_max=_below_1(r), false_positive_rate_max=_below_1(room))
            for r, room in zip(most, rooms, strict=True)
            if room > 1e-9
        ]
    if target.precision_min is None:
        return [Bounds(recall_min=target.recall_min)]
    allowed = p * (1 - target.precision_min) / (target.precision_min * (1 - p))
    recalls: Sequence[float] = _RECALLS
    if target.recall_min is not None:
        # Far above the recall asked for, more matches may be flagged: worth a try of its own.
        above = [r for r in _RECALLS if r > target.recall_min + 0.1]
        recalls = [target.recall_min, *above]
    return [Bounds(recall_min=r, false_positive_rate_max=_below_1(allowed * r)) for r in recalls]


def _below_1(rate: float) -> float | None:
    return rate if rate < 1 else None


def independent(labels: Labels, *, seed: int) -> Labels:
    """Labels that a test may take for independent draws of equal weight, in an order by chance.

    A label of weight w stays with probability w / max w, so what stays is drawn as all posts
    are; of each image one mismatch and one match stay.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    drawn = labels.take(order)
    drawn = drawn.take(rng.random(len(labels)) * drawn.weights.max() < drawn.weights)
    _, image_of = np.unique(drawn.images, return_inverse=True)
    _, first = np.unique(2 * image_of + drawn.is_match, return_index=True)
    return drawn.take(first)


def flags_on(labels: Labels, scores: Floats) -> Flags:
    """Count what each threshold of the grid flags, from match scores, (n,)."""
    mismatches, matches = (np.sort(scores[of]) for of in (~labels.is_match, labels.is_match))
    return Flags(
        np.searchsorted(mismatches, GRID).astype(np.float64),
        np.searchsorted(matches, GRID).astype(np.float64),
        len(mismatches),
        len(matches),
    )


def certified(target: Target, flags: Flags, *, confidence: float) -> Bools:
    """Which thresholds of the grid, (g,), reach the target: all of them, with this confidence."""
    tried = bounds_for(target)
    reached = np.zeros(len(GRID), dtype=np.bool_)
    for bounds in tried:
        reached |= _holds(bounds, flags, error=(1 - confidence) / len(tried))
    return reached


def _holds(bounds: Bounds, flags: Flags, *, error: float) -> Bools:
    """Which thresholds keep within all bounds, wrongly with a probability of `error` at most."""
    error /= max(1, bounds.sequences)
    holds = np.ones(len(GRID), dtype=np.bool_)
    if bounds.recall_min is not None:
        missed = flags.mismatches - flags.mismatches_flagged
        p_values = p_values_of(missed, flags.mismatches, 1 - bounds.recall_min)
        # Down from the highest threshold, where everything is flagged.
        holds &= _sequence(p_values[::-1], error)[::-1]
    up = np.zeros(len(GRID))
    if bounds.recall_max is not None:
        found = p_values_of(flags.mismatches_flagged, flags.mismatches, bounds.recall_max)
        up = np.maximum(up, found)
    if bounds.false_positive_rate_max is not None:
        wrong = p_values_of(flags.matches_flagged, flags.matches, bounds.false_positive_rate_max)
        up = np.maximum(up, wrong)
    return holds & _sequence(up, error)


def p_values_of(events: Floats, n: int, rate_max: float) -> Floats:
    """MAPIE's p-values, (g,), that a rate of `events` among n is above `rate_max`."""
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    if n == 0:
        return np.ones(len(events))
    # MAPIE rounds n times the rate up: a rounding error of the quotient would count one too many.
    rates = np.maximum(0, events - 1e-9) / n
    p_values: Floats = compute_hoeffding_bentkus_p_value(rates, n, rate_max, binary=True)[:, 0]
    return p_values


def _sequence(p_values: Floats, error: float) -> Bools:
    from mapie.risk_control import control_fwer

    reached = np.zeros(len(p_values), dtype=np.bool_)
    reached[control_fwer(p_values, error, "fixed_sequence")] = True
    return reached
