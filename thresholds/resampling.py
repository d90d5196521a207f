"""The bootstrap by image: what is one image's own is drawn together (Efron, 1979)."""

from collections.abc import Iterator

import numpy as np

from moderation.curves import Floats
from thresholds.labels import Bools, Labels

RESAMPLES = 1000


def resampled_weights(labels: Labels, *, seed: int) -> Iterator[Floats]:
    """Weights, (n,), of the labels in each resample: their own times how often they are drawn.

    A resample without one of the classes is drawn again.
    """
    rng = np.random.default_rng(seed)
    images, image_of = np.unique(labels.images, return_inverse=True)
    for _ in range(RESAMPLES):
        while True:
            chosen = rng.integers(0, len(images), len(images))
            times = np.bincount(chosen, minlength=len(images))[image_of]
            if 0 < times[labels.is_match].sum() < times.sum():
                break
        yield labels.weights * times


class Ranking:
    """Match scores in order, for the AUC of many weightings of the same labels."""

    def __init__(self, scores: Floats, labels: Labels) -> None:
        values, self._value_of = np.unique(scores, return_inverse=True)
        self._values = len(values)
        self._is_match = labels.is_match

    def auc(self, weights: Floats, mismatches: Bools) -> float:
        """The weighted share of mismatch and match in the right order; ties count half.

        All matches against the mismatches of a mask, (n,); NaN where none has any weight.
        """
        matches = self._is_match
        above = np.bincount(self._value_of[matches], weights[matches], self._values)
        below = np.bincount(self._value_of[mismatches], weights[mismatches], self._values)
        pairs = above.sum() * below.sum()
        if pairs == 0:
            return float("nan")
        return float(above @ (np.cumsum(below) - below / 2) / pairs)
