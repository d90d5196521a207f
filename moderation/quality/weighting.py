"""For how many submissions each settled case stands, where others have no answer yet. Pure.

Answers are missing in two ways. What nobody has begun waits its turn, and begun ones stand for
it, within a stratum of alike ones. What is begun and not settled waits because of what was said:
an audit that one person calls a mismatch waits for a second, and one on which the two differ for
a lead. So only those settled that began alike stand for it: leaving it out would count passes
that one person calls right at once, and misses late.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats
from moderation.quality.figures import Reviewed, Said
from moderation.store.history import Bools, Ints

# Cases by which others that began alike are judged.
_FEWEST_ALIKE = 10
# Kolmogorov's limit that chance passes once in a hundred times.
_BY_CHANCE = 1.63


@dataclass(frozen=True, slots=True)
class Weighted:
    """What each case of a row stands for, (n,), 0 where none is settled.

    `scatter`, (n,) in (0, 1], is by how much less that varies than if nobody knew how many wait
    that began alike. Nobody stands for `unseen` submissions, of which none is begun, nor for
    `waiting` ones, that are begun and unlike all that are settled. Those that stand for
    `unreached` ones are of strata that were begun so much more than theirs that it is no chance.
    """

    weights: Floats
    scatter: Floats
    unseen: float
    waiting: float
    unreached: float


def weigh(cases: Reviewed, counts: Mapping[int, int], *, fewest: int) -> Weighted:
    """Let those settled stand for all that is counted, by stratum.

    By ratios of weights rather than weights alone (Hájek, 1971): of all to those begun, of these
    to those that a second person, if one is wanted, has answered, and of these to those settled.
    Strata with fewer than `fewest` begun cases are pooled with neighbours.
    """
    codes = np.array([*counts, *cases.strata], np.int64)
    names, numbers = np.unique(codes, return_inverse=True)
    counted = _sums(numbers[: len(counts)], np.array([*counts.values()], np.int64), len(names))
    strata = numbers[len(counts) :]
    is_settled, is_begun = cases.settled > 0, cases.first > 0
    weights, unseen, unreached = _for_all(cases, strata, counted, fewest=fewest)
    begun = weights.copy()
    waiting = 0.0
    for like, stays in (
        (cases.first, is_settled | (cases.second > 0)),
        (cases.first * len(Said) + cases.second, is_settled),
    ):
        for kind in np.unique(like[is_begun & ~stays]):
            waiting += _hand_on(weights, cases.cases, strata, of=like == kind, to=stays)
    return Weighted(
        np.where(is_settled & ~is_begun, cases.weights, weights),
        _scatter(cases, begun, weights),
        unseen,
        waiting,
        unreached,
    )


def _for_all(
    cases: Reviewed, strata: Ints, counted: Floats, *, fewest: int
) -> tuple[Floats, float, float]:
    """For how many each begun case stands, (n,); how many are unseen, and how many unreached."""
    size = len(counted)
    is_begun = cases.first > 0
    pools = pooled(counted, _sums(strata, cases.cases * is_begun, size), fewest=fewest)
    pool = pools[strata]
    own = cases.weights * cases.cases
    rest = counted - _sums(strata, own * ((cases.settled > 0) & ~is_begun), size)
    left = np.maximum(_sums(pools, rest, size), 0.0)
    known = _sums(pool, own * is_begun, size)
    ratio = _ratio(left, known)
    weights = cases.weights * is_begun * ratio[pool]
    gaps = np.where(ratio[pools] > 0, rest - _sums(strata, weights * cases.cases, size), 0.0)
    variances = _sums(pool, weights**2 * cases.cases, size)
    return weights, float(left[known == 0].sum()), _unreached(gaps, pools, variances)


def _unreached(gaps: Floats, pools: Ints, variances: Floats) -> float:
    """How many are stood for by others than their like, where chance alone would not do that.

    By the largest gap below or above any stratum of a pool, between how many there are and for
    how many those begun stand (Kolmogorov, 1933). `gaps` are those of each stratum, (k,).
    """
    largest = np.zeros(len(gaps))
    np.maximum.at(largest, pools, np.abs(np.cumsum(gaps)))
    return float(largest[largest > _BY_CHANCE * np.sqrt(variances)].sum())


def _hand_on(weights: Floats, cases: Ints, strata: Ints, *, of: Bools, to: Bools) -> float:
    """Give the weights `of` alike cases to those of them that they go `to`, in place.

    Returns those that nobody could take.
    """
    size = int(strata.max()) + 1
    giving, taking = (_sums(strata, cases * rows, size) for rows in (of, of & to))
    pool = pooled(giving, taking, fewest=_FEWEST_ALIKE)[strata]
    given, taken = (_sums(pool, weights * cases * rows, size) for rows in (of, of & to))
    weights *= np.where(of, to * _ratio(given, taken)[pool], 1.0)
    return float(given[taken == 0].sum())


def _scatter(cases: Reviewed, begun: Floats, weights: Floats) -> Floats:
    """The variance of these weights as a part of what squaring them makes, (n,).

    Of n cases that begin alike a part f is settled, and of that a part p as this one. Their number
    varies as any does, but of it only which are settled is by chance again: two-phase sampling's
    (1 - f) p (1 - p) n / f (Neyman, 1938), instead of the p n (1 - f) / f² of thinning.
    """
    known = _ratio(begun, weights)
    scatter = np.ones(len(cases))
    settled = cases.cases * (cases.settled > 0)
    for first in np.unique(cases.first):
        alike = cases.first == first
        like = _sums(cases.settled, settled * alike, len(Said))
        share = (like / max(like.sum(), 1.0))[cases.settled]
        scatter = np.where(alike & (weights > 0), 1 - share * (1 - known), scatter)
    return scatter


def _sums(numbers: Ints, values: Floats | Ints, size: int) -> Floats:
    """The sum of values of each number below `size`, (size,)."""
    return np.bincount(numbers, values, size).astype(np.float64)


def _ratio(sums: Floats, parts: Floats) -> Floats:
    return np.divide(sums, parts, out=np.zeros_like(sums), where=parts > 0)


def pooled(counts: Floats, known: Floats, *, fewest: int) -> Ints:
    """The number of each stratum's pool, (k,), with `fewest` known ones in each, or all there are.

    From the last stratum on, each is pooled with as many before it as that takes: where the first
    of a kind are looked at first, those that nobody has come to are judged by the nearest that
    somebody has.
    """
    pools = np.zeros(len(counts), np.int64)
    number, count, have = 0, 0.0, 0.0
    for stratum in range(len(counts) - 1, -1, -1):
        pools[stratum] = number
        count += float(counts[stratum])
        have += float(known[stratum])
        if count and have >= min(fewest, count):
            number, count, have = number + 1, 0.0, 0.0
    # The first strata may be too few, and nothing is before them.
    pools[pools == number] = max(number - 1, 0)
    return pools
