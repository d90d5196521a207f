"""The shapes a calibration may have: from a raw cosine to a match score in [0, 1].

Each knows one cosine by plain arithmetic, for the workers, and arrays by numpy, for whoever
looks at a month of them; a test holds the two together.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A cosine of exactly -1 or 1 has no logit.
_EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Platt:
    """`sigmoid(a * cosine + b)` (Platt, 1999)."""

    a: float
    b: float

    def score(self, cosine: float) -> float:
        """The match score of one cosine."""
        return _sigmoid(self.a * cosine + self.b)

    def scores(self, cosines: Floats) -> Floats:
        """Match scores, (n,), of cosines, (n,)."""
        return _sigmoids(self.a * cosines + self.b)


@dataclass(frozen=True, slots=True)
class Beta:
    """`sigmoid(a ln p - b ln(1 - p) + c)` of `p = (1 + cosine) / 2`.

    Kull, Silva Filho and Flach (2017); it may bend where Platt's curve is symmetric.
    """

    a: float
    b: float
    c: float

    def score(self, cosine: float) -> float:
        """The match score of one cosine."""
        share = min(max((1 + cosine) / 2, _EDGE), 1 - _EDGE)
        return _sigmoid(self.a * math.log(share) - self.b * math.log1p(-share) + self.c)

    def scores(self, cosines: Floats) -> Floats:
        """Match scores, (n,), of cosines, (n,)."""
        shares = np.clip((1 + cosines) / 2, _EDGE, 1 - _EDGE)
        return _sigmoids(self.a * np.log(shares) - self.b * np.log1p(-shares) + self.c)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between knots, level beyond the outermost: never falls, may have ties.

    `cosines` rise strictly and `match_scores` never fall; both have the same length.
    """

    cosines: tuple[float, ...]
    match_scores: tuple[float, ...]

    def score(self, cosine: float) -> float:
        """The match score of one cosine."""
        right = bisect_right(self.cosines, cosine)
        if right == 0:
            return self.match_scores[0]
        if right == len(self.cosines):
            return self.match_scores[-1]
        x0, x1 = self.cosines[right - 1], self.cosines[right]
        y0, y1 = self.match_scores[right - 1], self.match_scores[right]
        return y0 + (y1 - y0) * (cosine - x0) / (x1 - x0)

    def scores(self, cosines: Floats) -> Floats:
        """Match scores, (n,), of cosines, (n,)."""
        return np.interp(cosines, self.cosines, self.match_scores)


Curve = Platt | Beta | Isotonic


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    # The other branch's exp would overflow for a large negative logit.
    odds = math.exp(logit)
    return odds / (1.0 + odds)


def _sigmoids(logits: Floats) -> Floats:
    # On the side where exp cannot overflow, as above.
    odds: Floats = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, odds) / (1.0 + odds)
