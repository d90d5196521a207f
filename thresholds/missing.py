"""How many labels a guarantee still needs."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from moderation.curves import Floats
from thresholds.guarantee import GRID, Bounds, Flags, bounds_for
from thresholds.labels import Labels, Names
from thresholds.targets import Target

# Each rate's test passes so often at the numbers given: two of them together in 80 % of draws.
_POWER = 0.9
# Whoever needs more labels than this needs another model.
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Missing:
    """Labels to add to all those there are, each of an image of its own."""

    matches: int
    mismatches: int


def missing_labels(
    target: Target, flags: Flags, labels: Labels, *, confidence: float
) -> Missing | None:
    """What to add to `labels` for a guarantee, if rates are as observed.

    `flags` are of the part of them that the guarantee was tried on. The same exact tests are
    asked for the numbers at which they pass in 9 of 10 draws each. Rates of few labels are
    rough, so this is a first step rather than a promise. None where the target lies beyond the
    observed rates: then no number of labels is enough.
    """
    tried = bounds_for(target)
    best: tuple[float, Missing] | None = None
    for bounds in tried:
        error = (1 - confidence) / len(tried) / max(1, bounds.sequences)
        mismatches, matches = _needed(bounds, flags, error)
        more = (
            _more(mismatches, flags.mismatches, labels.images[~labels.is_match]),
            _more(matches, flags.matches, labels.images[labels.is_match]),
        )
        at = int(np.argmin(more[0] + more[1]))
        cost = float(more[0][at] + more[1][at])
        if math.isfinite(cost) and (best is None or cost < best[0]):
            best = cost, Missing(mismatches=int(more[0][at]), matches=int(more[1][at]))
    return best[1] if best else None


def _needed(bounds: Bounds, flags: Flags, error: float) -> tuple[Floats, Floats]:
    """Mismatches and matches that the tests at each threshold, (g,), need."""
    mismatches, matches = np.zeros(len(GRID)), np.zeros(len(GRID))
    recall = flags.mismatches_flagged / max(1, flags.mismatches)
    if bounds.recall_min is not None:
        mismatches = _labels_for(1 - recall, 1 - bounds.recall_min, error)
    if bounds.recall_max is not None:
        mismatches = np.maximum(mismatches, _labels_for(recall, bounds.recall_max, error))
    if bounds.false_positive_rate_max is not None:
        rate = flags.matches_flagged / max(1, flags.matches)
        matches = _labels_for(rate, bounds.false_positive_rate_max, error)
    return mismatches, matches


def _more(needed: Floats, has: int, images: Names) -> Floats:
    """What to add to a class when `has` of all its images are tested on; the rest go elsewhere."""
    return np.ceil(np.maximum(0, needed - has) * len(np.unique(images)) / max(1, has))


def _labels_for(rate: Floats, rate_max: float, error: float) -> Floats:
    """The least n, (g,), at which rates that are so pass an exact test of `rate_max`.

    Found by bisection, as the power rises with n but for small teeth; inf beyond `_MOST`.
    """
    low, high = np.zeros(len(rate)), np.full(len(rate), float(_MOST))
    for _ in range(math.ceil(math.log2(_MOST))):
        middle = np.ceil((low + high) / 2)
        passes = _power(middle, rate, rate_max, error) >= _POWER
        low, high = np.where(passes, low, middle), np.where(passes, middle, high)
    return np.where(rate < rate_max, np.where(high < _MOST, high, np.inf), np.inf)


def _power(n: Floats, rate: Floats, rate_max: float, error: float) -> Floats:
    most = binom.ppf(error, n, rate_max)
    most = np.where(binom.cdf(most, n, rate_max) <= error, most, most - 1)
    power: Floats = binom.cdf(most, n, rate)
    return power
