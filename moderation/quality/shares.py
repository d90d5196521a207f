"""A share of two kinds of which only some were found, each standing for its weight. Pure."""

import math
from dataclasses import dataclass
from typing import Any, Self

from moderation.curves import Floats
from moderation.store.history import Bools

# So many of the heaviest in a sum, and its logarithm is normal enough (held by a simulation).
_FEW = 10
_NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95 % interval, or else, all three None, the `reason` why there is none."""

    point: float | None
    lower: float | None
    upper: float | None
    reason: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "point": self.point,
            "lower": self.lower,
            "upper": self.upper,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """The weights of those that were found among decided ones; `heaviest` is of any of these."""

    weights: Floats
    heaviest: float

    @classmethod
    def among(cls, weights: Floats, is_found: Bools) -> Self:
        """Those found among decided ones, (n,) both."""
        return cls(weights[is_found & (weights > 0)], float(weights.max(initial=0.0)))

    @property
    def total(self) -> float:
        """For how many they stand."""
        return float(self.weights.sum())

    @property
    def variance(self) -> float:
        """Of the total, as one of a Poisson process."""
        return float((self.weights**2).sum())

    @property
    def is_light(self) -> bool:
        """Whether one more of the heaviest, found by chance, would matter."""
        return self.total < _FEW * self.heaviest

    def bounds(self) -> tuple[float, float]:
        """Gamma bounds of the total; the total itself where chance matters little."""
        from scipy.stats import gamma

        total, variance, heaviest = self.total, self.variance, self.heaviest
        if not self.is_light:
            return total, total
        scale = (variance + heaviest**2) / (total + heaviest)
        upper = float(gamma.ppf(0.975, (total + heaviest) / scale, scale=scale))
        if not total:
            return 0.0, upper
        return float(gamma.ppf(0.025, total**2 / variance, scale=variance / total)), upper


def share(hits: Found, misses: Found) -> Estimate:
    """Hits among hits and misses, each found one standing for its weight, with its interval.

    Of the process and not of this window alone: V(X) = Σ w², which is Poisson sampling's
    Σ (1 − π)/π² (Horvitz and Thompson, 1952) and the Σ 1/π by which counts vary. On the
    logit, or by Fay and Feuer's gamma bounds (1997) where a side weighs less than ten of
    its heaviest.
    """
    hit, missed = hits.total, misses.total
    if not hit + missed:
        return unknown_share("nothing was decided on")
    point = hit / (hit + missed)
    if not hits.is_light and not misses.is_light:
        spread = math.hypot(*(math.sqrt(side.variance) / side.total for side in (hits, misses)))
        logit = math.log(hit / missed)
        lower, upper = (1 / (1 + math.exp(-(logit + s * spread))) for s in (-_NORMAL, _NORMAL))
        return Estimate(point, lower, upper)
    (hit_low, hit_high), (missed_low, missed_high) = hits.bounds(), misses.bounds()
    return Estimate(point, hit_low / (hit_low + missed_high), hit_high / (hit_high + missed_low))


def unknown_share(reason: str) -> Estimate:
    """That there is no estimate, and why."""
    return Estimate(None, None, None, reason)
