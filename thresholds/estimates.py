"""Precision and recall on traffic where only some submissions have a decision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from moderation.curves import Floats
from moderation.store.history import Bools, Decided

Says = Literal["pass", "flag"]
# What was said at the time, and what a candidate says.
Cell = tuple[Says, Says]

NAMES: Mapping[Cell, str] = {
    ("pass", "flag"): "newly flagged",
    ("flag", "pass"): "newly passed",
    ("flag", "flag"): "still flagged",
    ("pass", "pass"): "still passed",
}
CELLS: tuple[Cell, ...] = tuple(NAMES)

_FEWEST = 5
# So many of the heaviest in a sum, and its logarithm is normal enough (held by a simulation).
_FEW = 10
_NORMAL = 1.959963984540054
# What is not known may move a share by a point.
_NEGLIGIBLE = 0.01


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


def precision_and_recall(
    decided: Decided, is_flagged: Bools, counts: Mapping[Cell, int]
) -> tuple[Estimate, Estimate]:
    """What a candidate's precision and recall would have been, of scored submissions.

    `is_flagged`, (n,), is what the candidate says of what was decided; `counts` are the
    scored verdicts of each cell. Within a cell those decided stand for all of it, each for
    1/π of them (Hájek). A cell with fewer than five decisions is not known: that is borne
    where it could move the share by a point at most, and else there is no estimate. Nor is
    there one of recall below five found misses.
    """
    if not len(decided):
        nobody = _none("nobody has decided on any of them")
        return nobody, nobody
    weights, unknown = _weights(decided, is_flagged, counts)
    mismatch = decided.is_mismatch
    precision = _precision(weights, mismatch, is_flagged, counts, unknown)
    return precision, _recall(weights, mismatch, is_flagged, unknown)


def _precision(
    weights: Floats,
    mismatch: Bools,
    flagged: Bools,
    counts: Mapping[Cell, int],
    unknown: Mapping[Cell, int],
) -> Estimate:
    total = sum(count for (_, now), count in counts.items() if now == "flag")
    if not total:
        return _none("it flags nothing")
    lacking = {cell: count for cell, count in unknown.items() if cell[1] == "flag"}
    if sum(lacking.values()) > _NEGLIGIBLE * total:
        return _too_few(lacking)
    of_flagged = weights[flagged]
    return share(
        Found.among(of_flagged, mismatch[flagged]), Found.among(of_flagged, ~mismatch[flagged])
    )


def _recall(
    weights: Floats, mismatch: Bools, flagged: Bools, unknown: Mapping[Cell, int]
) -> Estimate:
    hits = Found.among(weights[flagged], mismatch[flagged])
    misses = Found.among(weights[~flagged], mismatch[~flagged])
    if len(misses.weights) < _FEWEST:
        return _none(
            f"of the mismatches that it passes, decisions have found {len(misses.weights)}; "
            f"{_FEWEST} are needed, which takes audits of passed submissions"
        )
    if sum(unknown.values()) > _NEGLIGIBLE * (hits.total + misses.total):
        return _too_few(unknown)
    return share(hits, misses)


def share(hits: "Found", misses: "Found") -> Estimate:
    """Hits among hits and misses, each found one standing for its weight, with its interval.

    Of the process and not of this window alone: V(X) = Σ w², which is Poisson sampling's
    Σ (1 − π)/π² (Horvitz and Thompson, 1952) and the Σ 1/π by which counts vary. On the
    logit, or by Fay and Feuer's gamma bounds (1997) where a side weighs less than ten of
    its heaviest.
    """
    hit, missed = hits.total, misses.total
    if not hit + missed:
        return _none("nothing was decided on")
    point = hit / (hit + missed)
    if not hits.is_light and not misses.is_light:
        spread = math.hypot(*(math.sqrt(side.variance) / side.total for side in (hits, misses)))
        logit = math.log(hit / missed)
        lower, upper = (1 / (1 + math.exp(-(logit + s * spread))) for s in (-_NORMAL, _NORMAL))
        return Estimate(point, lower, upper)
    (hit_low, hit_high), (missed_low, missed_high) = hits.bounds(), misses.bounds()
    return Estimate(point, hit_low / (hit_low + missed_high), hit_high / (hit_high + missed_low))


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


def _weights(
    decided: Decided, is_flagged: Bools, counts: Mapping[Cell, int]
) -> tuple[Floats, dict[Cell, int]]:
    """What each decided verdict stands for, (n,), and the counts of cells that are not known."""
    weights = np.zeros(len(decided))
    unknown = {}
    for cell, count in counts.items():
        rows = in_cell(cell, decided.is_flagged, is_flagged)
        known = decided.weights[rows]
        if len(known) < min(_FEWEST, count):
            unknown[cell] = count
        elif count:
            weights[rows] = known * (count / known.sum())
    return weights, unknown


def in_cell(cell: Cell, was_flagged: Bools, is_flagged: Bools) -> Bools:
    """Which verdicts, (n,), are in a cell, from what was and what is said of them."""
    before, now = cell
    rows: Bools = (was_flagged == (before == "flag")) & (is_flagged == (now == "flag"))
    return rows


def _too_few(unknown: Mapping[Cell, int]) -> Estimate:
    named = " and ".join(f"the {count:,} {NAMES[cell]}" for cell, count in unknown.items())
    return _none(f"{named} have fewer than {_FEWEST} decisions")


def _none(reason: str) -> Estimate:
    return Estimate(None, None, None, reason)
