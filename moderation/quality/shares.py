"""A share of two kinds of which only some were found, each standing for its weight. Pure."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from moderation.curves import Floats
from moderation.quality.gammas import Gamma, of_either
from moderation.store.history import Bools, Ints

# With fewer found the approximations below are too rough: exact bounds, which cover more.
_FEW = 5
# So many of the heaviest in a sum, and its logarithm is normal enough: at ten, intervals of
# weights spread 1:30 cover 91 %, from twenty on 93 % and more.
_MANY = 20
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
    """The weights of those that were found among decided ones, and of any the `heaviest`.

    Each weight is of one, or else of so many `cases`, (n,), and varies as a Poisson process does,
    or else by so much less as `scatter`, (n,), says.
    """

    weights: Floats
    heaviest: float
    cases: Ints | None = None
    scatter: Floats | None = None

    @classmethod
    def among(
        cls,
        weights: Floats,
        is_found: Bools,
        cases: Ints | None = None,
        scatter: Floats | None = None,
    ) -> Self:
        """Those found among decided ones, (n,) all."""
        found = is_found & (weights > 0)
        # Each stands at least for itself.
        heaviest = float((weights if scatter is None else weights * scatter).max(initial=1.0))
        return cls(
            weights[found],
            heaviest,
            None if cases is None else cases[found],
            None if scatter is None else scatter[found],
        )

    @classmethod
    def counted(cls, count: int) -> Self:
        """So many of which each stands for itself."""
        return cls(np.ones(1), 1.0, np.array([count]))

    @property
    def found(self) -> int:
        """How many they are."""
        return int(self._each().sum())

    @property
    def total(self) -> float:
        """For how many they stand."""
        return float(self.weights @ self._each())

    @property
    def variance(self) -> float:
        """Of the total, as one of a Poisson process."""
        scatter = 1.0 if self.scatter is None else self.scatter
        return float((self.weights**2 * scatter) @ self._each())

    @property
    def is_many(self) -> bool:
        """Whether one more of the heaviest, found by chance, would hardly matter."""
        # No matter in which order they were added up.
        return self.total * (1 + 1e-9) >= _MANY * self.heaviest

    def exact_bounds(self) -> tuple[float, float]:
        """Gamma bounds of the total (Fay and Feuer, 1997); of equal weights, Garwood's (1936)."""
        return self._below().quantile(0.025), self._above().quantile(0.975)

    def middle_bounds(self) -> tuple[float, float]:
        """Mid-p gamma bounds of the total, which err on neither side (Fay and Kim, 2017)."""
        below, above = self._below(), self._above()
        return of_either(below, above, 0.025), of_either(below, above, 0.975)

    def _below(self) -> Gamma:
        return Gamma(self.total, self.variance)

    def _above(self) -> Gamma:
        """Had the next to be looked at been one of the heaviest, and been found."""
        return Gamma(self.total + self.heaviest, self.variance + self.heaviest**2)

    def _each(self) -> Ints:
        return np.ones(len(self.weights), np.int64) if self.cases is None else self.cases


@dataclass(frozen=True, slots=True)
class Together:
    """Those of one kind that were found here and there; bounds as in Zou and Donner (2008).

    Not one sum of all: many light ones would hide how much few heavy ones may be off.
    """

    one: Found
    other: Found

    @property
    def found(self) -> int:
        """How many they are."""
        return self.one.found + self.other.found

    @property
    def total(self) -> float:
        """For how many they stand."""
        return self.one.total + self.other.total

    @property
    def variance(self) -> float:
        """Of the total, as one of a Poisson process."""
        return self.one.variance + self.other.variance

    @property
    def is_many(self) -> bool:
        """Whether both are many."""
        return self.one.is_many and self.other.is_many

    def exact_bounds(self) -> tuple[float, float]:
        """Of the total, from exact bounds of each."""
        return self._added(self.one.exact_bounds(), self.other.exact_bounds())

    def middle_bounds(self) -> tuple[float, float]:
        """Of the total, from mid-p bounds of each."""
        return self._added(self.one.middle_bounds(), self.other.middle_bounds())

    def _added(self, one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
        down, up = (
            math.hypot(a - self.one.total, b - self.other.total)
            for a, b in zip(one, other, strict=True)
        )
        return max(self.total - down, 0.0), self.total + up


Side = Found | Together


def share(hits: Side, misses: Side) -> Estimate:
    """Hits among hits and misses, each found one standing for its weight, with its interval.

    Of the process that the window is a part of, not of this window alone: V(X) = Σ w², which is
    Poisson sampling's Σ (1 - π)/π² (Horvitz and Thompson, 1952) and the Σ 1/π by which counts
    vary. On the logit where both sides weigh many times their heaviest; else from bounds of
    each side, put together as in Zou and Donner (2008) on the same scale. Below five found on
    a side the bounds are exact, and at their worst both at once.
    """
    hit, missed = hits.total, misses.total
    if not hit + missed:
        return unknown_share("nothing was decided on")
    point = hit / (hit + missed)
    if min(hits.found, misses.found) < _FEW:
        lower, upper = _exact(hits, misses)
    else:
        near = hits.is_many and misses.is_many
        (hit_down, hit_up), (missed_down, missed_up) = (
            _reach(side, near) for side in (hits, misses)
        )
        down, up = math.hypot(hit_down, missed_up), math.hypot(hit_up, missed_down)
        lower, upper = _on_logit(hit / missed, down, up)
    # Rounding may leave an end a little beyond the estimate.
    return Estimate(point, min(lower, point), max(upper, point))


def part(hits: Side, whole: float) -> Estimate:
    """Hits, five of them or more, among so many, of which as many are none as the hits leave.

    As `share`, but that what chance adds to the hits it takes from the rest, so that on the logit
    their interval, less the spread of a whole that is known, is 1 / (1 - share) as wide.
    """
    if hits.total >= whole:
        return share(hits, Found.counted(0))
    odds = hits.total / (whole - hits.total)
    known = max(1 - hits.total**2 / (whole * hits.variance), 0.0)
    wider = (1 + odds) * math.sqrt(known)
    down, up = (wider * reach for reach in _reach(hits, hits.is_many))
    return Estimate(hits.total / whole, *_on_logit(odds, down, up))


def _reach(side: Side, is_near_normal: bool) -> tuple[float, float]:
    """How far its interval reaches down and up from a total, on a scale of logarithms."""
    if is_near_normal:
        spread = _NORMAL * math.sqrt(side.variance) / side.total
        return spread, spread
    lower, upper = side.middle_bounds()
    return math.log(side.total / lower), math.log(upper / side.total)


def _on_logit(odds: float, down: float, up: float) -> tuple[float, float]:
    """The ends of a share that lie so far from it on the logit."""
    return 1 / (1 + math.exp(down) / odds), 1 / (1 + math.exp(-up) / odds)


def _exact(hits: Side, misses: Side) -> tuple[float, float]:
    """The ends of the share; a side of many is taken as known, as the other varies far more."""
    (hit_low, hit_high), (missed_low, missed_high) = (
        (side.total, side.total) if side.is_many else side.exact_bounds() for side in (hits, misses)
    )
    return hit_low / (hit_low + missed_high), hit_high / (hit_high + missed_low)


def unknown_share(reason: str) -> Estimate:
    """That there is no estimate, and why."""
    return Estimate(None, None, None, reason)
