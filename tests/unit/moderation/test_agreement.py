"""Agreement of people, against other computations and people whose skill is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, f1_score

from moderation.quality.agreement import (
    MIN_N,
    Agreement,
    Figure,
    Known,
    Twice,
    accuracy,
    agreement,
    by_pair,
    kappas,
    share,
)
from moderation.store.decisions import Answer

MISMATCH, MATCH, UNSURE, ESCALATE = Answer
CELLS = ((MISMATCH, MISMATCH), (MISMATCH, MATCH), (MATCH, MISMATCH), (MATCH, MATCH))
tables = st.tuples(*[st.integers(0, 60)] * 4)


def of_table(table: tuple[int, ...], first_by: str = "ann", second_by: str = "bob") -> list[Twice]:
    """Cases of a table: both mismatch, first only, second only, both match."""
    return [
        Twice(first_by, second_by, *answers, cases=n)
        for answers, n in zip(CELLS, table, strict=True)
    ]


def points(found: Agreement) -> list[float | None]:
    """The three estimates."""
    return [
        figure.interval and figure.interval.point
        for figure in (found.observed, found.positive, found.kappa)
    ]


@given(tables)
def test_figures_are_those_of_other_computations(table: tuple[int, ...]) -> None:
    """Kappa is scikit-learn's of single cases, positive agreement the F1 of one by the other.

    What is below ten cases, or undefined, has no figure.
    """
    found = agreement(of_table(table))
    first, second = np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], table, axis=1)
    n, a_mismatch = sum(table), sum(table[:3])
    assert found.observed.n == found.kappa.n == n
    assert found.positive.n == a_mismatch
    observed, positive, kappa = points(found)
    if n < MIN_N:
        assert observed is None
        assert kappa is None
    else:
        assert observed == pytest.approx((first == second).mean())
        if n in (table[0], table[3]):
            assert kappa is None
        else:
            assert kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
            assert kappa == pytest.approx(kappas(np.array([table]) / n)[0], abs=1e-12)
    if a_mismatch < MIN_N:
        assert positive is None
    else:
        assert positive == pytest.approx(f1_score(first, second))
    for figure in (found.observed, found.positive, found.kappa):
        if figure.interval:
            assert figure.interval.lower <= figure.interval.point <= figure.interval.upper


@given(st.integers(MIN_N, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_have_the_limits_of_wilson(hits_of_n: tuple[int, int]) -> None:
    """Each limit is a share from which the observed one is 1.96 standard errors away."""
    hits, n = hits_of_n
    found = share(hits, n).interval
    assert found is not None
    for limit in (found.lower, found.upper):
        away = abs(hits / n - limit)
        assert away == pytest.approx(norm.ppf(0.975) * np.sqrt(limit * (1 - limit) / n), abs=1e-9)


@given(tables, st.integers(0, 9), st.integers(0, 9))
def test_unclear_answers_are_counted_and_change_no_figure(
    table: tuple[int, ...], unsure: int, escalated: int
) -> None:
    """`unsure` and `escalate` belong to neither class."""
    unclear = [
        Twice("ann", "bob", UNSURE, MATCH, unsure),
        Twice("ann", "bob", MISMATCH, ESCALATE, escalated),
    ]
    found = agreement(of_table(table) + unclear)
    without = agreement(of_table(table))
    assert found.unclear == unsure + escalated
    assert (found.observed, found.positive, found.kappa) == (
        without.observed,
        without.positive,
        without.kappa,
    )


def test_a_pair_of_people_is_one_whoever_was_first() -> None:
    """Cases that Ann decided first and those that Bob did are of the same two people.

    Where they are the only two, everybody's figures are theirs.
    """
    turned = [
        Twice("bob", "ann", row.second, row.first, row.cases) for row in of_table((4, 1, 2, 9))
    ]
    both = by_pair(of_table((4, 1, 2, 9)) + turned)
    assert list(both) == [("ann", "bob")]
    assert both["ann", "bob"] == agreement(of_table((8, 2, 4, 18)))
    assert both["ann", "bob"] == agreement(of_table((4, 1, 2, 9)) + turned)


def test_two_people_of_known_skill_get_the_figures_that_follow_from_it() -> None:
    """The intervals hold what follows from prevalence, sensitivity and specificity.

    In about 95 of 100 runs, also where there are few cases and hardly a mismatch.
    """
    rng = np.random.default_rng(11)
    for prevalence, n in itertools.product((0.05, 0.2, 0.5), (30, 200)):
        sensitivity, specificity = 0.9, 0.97
        of_mismatch = np.outer([sensitivity, 1 - sensitivity], [sensitivity, 1 - sensitivity])
        of_match = np.outer([1 - specificity, specificity], [1 - specificity, specificity])
        shares = (prevalence * of_mismatch + (1 - prevalence) * of_match).ravel()
        a, b, c, d = shares
        truth = (a + d, 2 * a / (2 * a + b + c), kappas(shares[None])[0])
        held, known = np.zeros(3), np.zeros(3)
        for _ in range(150):
            found = agreement(of_table(tuple(rng.multinomial(n, shares).tolist())))
            for i, figure in enumerate((found.observed, found.positive, found.kappa)):
                if figure.interval:
                    known[i] += 1
                    held[i] += figure.interval.lower <= truth[i] <= figure.interval.upper
        # 150 runs of 95 % give less than 89 % once in a thousand times.
        for i in range(3):
            if known[i] > 100:
                assert held[i] / known[i] > 0.89, (prevalence, n, i)


def test_skill_on_golden_cases_tells_mismatches_and_matches_apart() -> None:
    """Who misses mismatches has a low sensitivity and a high specificity; too few say nothing."""
    found = accuracy(
        [
            Known("ann", MISMATCH, MISMATCH, 12),
            Known("ann", MISMATCH, MATCH, 8),
            Known("ann", MATCH, MATCH, 29),
            Known("ann", MATCH, MISMATCH, 1),
            Known("ann", MATCH, UNSURE, 3),
            Known("bob", MISMATCH, MISMATCH, 3),
            Known("bob", MATCH, MATCH, 7),
        ]
    )
    ann, bob = found["ann"], found["bob"]
    assert ann.sensitivity == share(12, 20)
    assert ann.specificity == share(29, 30)
    assert ann.right == share(41, 50)
    assert ann.unclear == 3
    assert bob.right == share(10, 10)
    assert bob.sensitivity == Figure(3)
    assert bob.sensitivity.has_too_few
    assert bob.specificity.interval is None
