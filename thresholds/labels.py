"""Cosines with their labels: what every command of this package works on."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from moderation.curves import Floats
from moderation.errors import InputRefused

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Names = NDArray[np.str_]

OWN = ""
UNSPLIT = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled pairs as arrays, (n,) each.

    `images` names the image of a pair: pairs of one image never straddle a split. `weights`
    are 1/π for pairs that were drawn with probability π, else 1. `kinds` says what is wrong
    with a mismatch (`random`, `negation`, …; `OWN` where nothing is known). `splits` names the
    split of each pair where whoever made the labels has decided on it, else `UNSPLIT`.
    """

    cosines: Floats
    is_match: Bools
    images: Names
    weights: Floats
    kinds: Names
    splits: Names

    @classmethod
    def of(
        cls,
        cosines: Floats,
        is_match: Bools,
        *,
        images: Names | None = None,
        weights: Floats | None = None,
        kinds: Names | None = None,
        splits: Names | None = None,
    ) -> Self:
        """Labels of arrays, each pair with an image of its own where none are given.

        Raises `InputRefused` for cosines outside [-1, 1] and weights that are not above 0.
        """
        n = len(cosines)
        if not (np.isfinite(cosines) & (np.abs(cosines) <= 1 + 1e-6)).all():
            raise InputRefused("some cosines are no numbers between -1 and 1; nothing was done")
        if weights is not None and not (np.isfinite(weights) & (weights > 0)).all():
            raise InputRefused("some weights are no numbers above 0; nothing was done")
        return cls(
            cosines=np.asarray(cosines, dtype=np.float64),
            is_match=np.asarray(is_match, dtype=np.bool_),
            images=np.arange(n).astype(np.str_) if images is None else images,
            weights=np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64),
            kinds=np.full(n, OWN, dtype=np.str_) if kinds is None else kinds,
            splits=np.full(n, UNSPLIT, dtype=np.str_) if splits is None else splits,
        )

    def __len__(self) -> int:
        return len(self.cosines)

    def take(self, rows: Ints | Bools) -> "Labels":
        """The labels of some rows, by number or by mask."""
        return Labels(
            self.cosines[rows],
            self.is_match[rows],
            self.images[rows],
            self.weights[rows],
            self.kinds[rows],
            self.splits[rows],
        )

    def image_numbers(self) -> Ints:
        """A number for each pair's image, (n,)."""
        numbers: Ints = np.unique(self.images, return_inverse=True)[1].astype(np.int64)
        return numbers

    def resampled(self, rng: np.random.Generator, image_numbers: Ints) -> "Labels":
        """A bootstrap sample of whole images: one that is drawn twice weighs double."""
        images = int(image_numbers.max()) + 1
        drawn = np.bincount(rng.integers(0, images, images), minlength=images)[image_numbers]
        taken = self.take(drawn > 0)
        return replace(taken, weights=taken.weights * drawn[drawn > 0])

    @property
    def matches(self) -> int:
        """How many pairs match."""
        return int(self.is_match.sum())

    @property
    def mismatches(self) -> int:
        """How many pairs do not."""
        return len(self) - self.matches

    def effective(self, rows: Bools) -> float:
        """As how many of equal weight some rows, (n,), tell: Kish's `(Σ w)² / Σ w²` (1965)."""
        weights = self.weights[rows]
        return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0

    def class_weights(self, *, prevalence: float = 0.5) -> Floats:
        """Weights, (n,), that sum to 1 and give mismatches a share of `prevalence`.

        Within a class they are as `weights` has them.
        """
        weights = np.empty(len(self))
        for of_class, share in ((self.is_match, 1 - prevalence), (~self.is_match, prevalence)):
            weights[of_class] = share * self.weights[of_class] / self.weights[of_class].sum()
        return weights
