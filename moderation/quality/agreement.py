"""Whether people agree on a pair, and with answers that are known. Pure.

The positive class is the mismatch. `unsure` and `escalate` belong to neither class: they are
counted, and are in no figure.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation.store.decisions import Answer

Floats = NDArray[np.float64]

# Below that an interval is so wide that a figure only invites to judge somebody by chance.
MIN_N = 10

_DRAWS = 4000
_CLEAR = (Answer.MISMATCH, Answer.MATCH)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    point: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known from `n` cases: nothing below `MIN_N`, or where it is undefined."""

    n: int
    interval: Interval | None = None

    @property
    def has_too_few(self) -> bool:
        """Whether more cases would make it known; else, without an interval, it is undefined."""
        return self.n < MIN_N


@dataclass(frozen=True, slots=True)
class Twice:
    """So many cases that two people decided on their own, the first so and the second so."""

    first_by: str
    second_by: str
    first: Answer
    second: Answer
    cases: int = 1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two answers agree; `unclear` cases, where one was `unsure`, are in no figure.

    `positive` is 2a / (2a + b + c), for a cases that both called a mismatch and b + c that one
    of them did; its n are those a + b + c. `kappa` is Cohen's (1960).
    """

    observed: Figure
    positive: Figure
    kappa: Figure
    unclear: int


@dataclass(frozen=True, slots=True)
class Known:
    """So many golden cases whose right answer is `truth`, that somebody answered so."""

    answer_by: str
    truth: Answer
    answer: Answer
    cases: int = 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often clear answers to golden cases are right; `unclear` ones are in no figure.

    `sensitivity` is the share right of the mismatches, `specificity` that of the matches.
    """

    right: Figure
    sensitivity: Figure
    specificity: Figure
    unclear: int


def share(hits: int, n: int) -> Figure:
    """A share with Wilson's interval (1927)."""
    from scipy.stats import binomtest

    if n < MIN_N:
        return Figure(n)
    limits = binomtest(hits, n).proportion_ci(method="wilson")
    point = hits / n
    # Rounding may leave an end a little beyond the estimate.
    return Figure(n, Interval(point, min(float(limits.low), point), max(float(limits.high), point)))


def agreement(decided: Iterable[Twice]) -> Agreement:
    """Agreement of two people, or of many; whoever of the two was first does not matter."""
    counts: dict[tuple[Answer, Answer], int] = defaultdict(int)
    for row in map(_by_name, decided):
        counts[row.first, row.second] += row.cases
    a, b, c, d = (counts[first, second] for first in _CLEAR for second in _CLEAR)
    n = a + b + c + d
    return Agreement(
        observed=share(a + d, n),
        positive=_positive(a, b + c),
        kappa=_kappa((a, b, c, d)),
        unclear=sum(counts.values()) - n,
    )


def by_pair(decided: Iterable[Twice]) -> dict[tuple[str, str], Agreement]:
    """Agreement of each two people; by name, in order."""
    groups: dict[tuple[str, str], list[Twice]] = defaultdict(list)
    for row in map(_by_name, decided):
        groups[row.first_by, row.second_by].append(row)
    return {pair: agreement(groups[pair]) for pair in sorted(groups)}


def _by_name(row: Twice) -> Twice:
    """The same with the two in order of their names."""
    if row.first_by <= row.second_by:
        return row
    return Twice(row.second_by, row.first_by, row.second, row.first, row.cases)


def accuracy(known: Iterable[Known]) -> dict[str, Accuracy]:
    """How well each person does on golden cases, by name."""
    people: dict[str, dict[tuple[Answer, Answer], int]] = defaultdict(lambda: defaultdict(int))
    for row in known:
        people[row.answer_by][row.truth, row.answer] += row.cases
    return {name: _accuracy(people[name]) for name in sorted(people)}


def _accuracy(counts: dict[tuple[Answer, Answer], int]) -> Accuracy:
    hits, missed, wrong, passed = (
        counts.get((truth, answer), 0) for truth in _CLEAR for answer in _CLEAR
    )
    n = hits + missed + wrong + passed
    return Accuracy(
        right=share(hits + passed, n),
        sensitivity=share(hits, hits + missed),
        specificity=share(passed, wrong + passed),
        unclear=sum(counts.values()) - n,
    )


def _positive(both: int, one: int) -> Figure:
    """2a / (2a + b + c) grows with the share a / (a + b + c), whose limits it has therefore."""
    found = share(both, both + one)
    if found.interval is None:
        return found
    point, lower, upper = (
        2 * value / (1 + value)
        for value in (found.interval.point, found.interval.lower, found.interval.upper)
    )
    return Figure(found.n, Interval(point, lower, upper))


def _kappa(table: Sequence[int]) -> Figure:
    """Cohen's kappa of both mismatch, first only, second only, both match.

    Its interval is Bayesian, with Jeffreys' prior for the four shares: it covers 88 to 99 % of
    the time from 10 cases on and 92 to 97 % from 30, where a bootstrap of 10 cases covers as
    little as 13 %, since most of its samples have no mismatch at all.
    """
    from sklearn.metrics import cohen_kappa_score

    n = sum(table)
    is_defined = max(table[0], table[3]) < n
    if n < MIN_N or not is_defined:
        return Figure(n)
    # Each cell of the table as one case of its weight.
    point = float(cohen_kappa_score([1, 1, 0, 0], [1, 0, 1, 0], sample_weight=list(table)))
    # The seed is fixed so that the same answers always show the same figure.
    draws = np.random.default_rng(0).dirichlet(np.array(table) + 0.5, _DRAWS)
    lower, upper = np.quantile(kappas(draws), (0.025, 0.975))
    return Figure(n, Interval(point, min(float(lower), point), max(float(upper), point)))


def kappas(tables: Floats) -> Floats:
    """Cohen's kappa of tables of shares, (n, 4), each both, first only, second only, neither."""
    both, first, second, neither = tables.T
    observed = both + neither
    chance = (both + first) * (both + second) + (second + neither) * (first + neither)
    values: Floats = (observed - chance) / (1 - chance)
    return values
