"""Precision, recall and prevalence from cases that have an answer: what must hold of any."""

import math
from dataclasses import fields, replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.quality.estimates import estimate
from moderation.quality.figures import Quality, Reviewed, Said, Window
from moderation.quality.shares import Estimate
from moderation.quality.weighting import pooled, weigh

_SHARES = ("precision", "recall", "prevalence", "flag_rate", "unsure")
_NO, _YES, _FINE, _UNSURE, _UP = Said

Row = tuple[int, float, Said, Said, Said, int]


def _reviewed(rows: list[Row]) -> Reviewed:
    table = np.array(rows, np.float64).reshape(-1, 6)
    strata, first, second, settled, cases = table[:, [0, 2, 3, 4, 5]].T.astype(np.int64)
    return Reviewed(strata, table[:, 1], first, second, settled, cases)


def _settled(said: Said, cases: int, *, stratum: int = 0, weight: float = 1.0) -> Row:
    return stratum, weight, said, _NO, said, cases


_ANSWERS = st.sampled_from(
    [
        (_NO, _NO, _NO),
        (_NO, _NO, _FINE),
        (_YES, _NO, _NO),
        (_YES, _NO, _YES),
        (_YES, _YES, _YES),
        (_YES, _FINE, _NO),
        (_YES, _FINE, _FINE),
        (_FINE, _NO, _FINE),
        (_UNSURE, _NO, _UNSURE),
        (_UP, _NO, _NO),
        (_UP, _YES, _YES),
    ]
)


@st.composite
def _windows(draw: st.DrawFn, *, least: int = 1) -> Window:
    """Any window, of rows of `least` cases or more."""
    sides = []
    for weights in (st.just(1.0), st.sampled_from([1.0, 2.0, 7.5, 60.0])):
        row = st.tuples(st.integers(0, 5), weights, _ANSWERS, st.integers(least, 90))
        drawn = draw(st.lists(row, max_size=12))
        rows = [(stratum, weight, *said, cases) for stratum, weight, said, cases in drawn]
        counts = {stratum: draw(st.integers(0, 50)) for stratum in draw(st.sets(st.integers(0, 7)))}
        for stratum, weight, *_, cases in rows:
            counts[stratum] = counts.get(stratum, 0) + math.ceil(weight * cases)
        sides.append((counts, _reviewed(rows)))
    (flags, flagged), (passes, audited) = sides
    return Window(flags, passes, flagged, audited)


@settings(deadline=None)
@given(_windows())
def test_an_estimate_is_a_share_in_its_interval_or_has_a_reason(window: Window) -> None:
    """Whatever came in and was said of it."""
    quality = estimate(window)
    for name in _SHARES:
        found = getattr(quality, name)
        if found.point is None:
            assert (found.lower, found.upper) == (None, None)
            assert found.reason
        else:
            assert 0 <= found.lower <= found.point <= found.upper <= 1
            assert found.reason is None
    assert (quality.recall.point is None) >= (quality.found_misses < 5)


@settings(deadline=None)
@given(_windows(), st.randoms(use_true_random=False), st.integers(1, 9), st.integers(-40, 40))
def test_only_what_was_found_matters(window: Window, random: Random, step: int, start: int) -> None:
    """Not the order of rows, nor how they are put together, nor what strata are called."""
    expected = estimate(window)

    def told_otherwise(cases: Reviewed) -> Reviewed:
        rows = [
            (start + step * row[0], *row[1:-1], part)
            for row in zip(
                *(getattr(cases, each.name).tolist() for each in fields(cases)), strict=True
            )
            for part in (row[-1] // 3, row[-1] - row[-1] // 3)
        ]
        random.shuffle(rows)
        return _reviewed(rows)

    flags, passes = (
        {
            start + step * stratum: counts[stratum]
            for stratum in random.sample([*counts], len(counts))
        }
        for counts in (window.flags, window.passes)
    )
    same = Window(flags, passes, told_otherwise(window.flagged), told_otherwise(window.audited))
    _assert_same(estimate(same), expected)


@settings(deadline=None)
@given(_windows(least=30), st.integers(2, 9))
def test_of_more_of_the_same_the_estimate_is_the_same(window: Window, times: int) -> None:
    """Points depend on shares, and only intervals on how many there are."""

    def more(cases: Reviewed) -> Reviewed:
        return replace(cases, cases=times * cases.cases)

    many = Window(
        {stratum: times * count for stratum, count in window.flags.items()},
        {stratum: times * count for stratum, count in window.passes.items()},
        more(window.flagged),
        more(window.audited),
    )
    before, after = estimate(window), estimate(many)
    for name in _SHARES:
        one, other = getattr(before, name), getattr(after, name)
        # Of few it may be chance that they are of some strata only, of many it is not.
        assert (other.point is None) >= (one.point is None)
        assert (other.point is None) == (
            one.point is None
        ) or "hardly anything like" in other.reason
        if other.point is not None:
            assert other.point == pytest.approx(one.point)
            # Counts that are very small have bounds of another kind.
            if min(one.point, 1 - one.point) > 0.1:
                assert other.upper - other.lower < one.upper - one.lower


@given(*(st.integers(5, 3000) for _ in range(4)))
def test_all_decided_is_the_plain_share(hits: int, alarms: int, misses: int, rest: int) -> None:
    """Where everything was looked at, the estimates are the counts' own ratios."""
    quality = estimate(
        Window(
            {0: hits, 1: alarms},
            {0: misses + rest},
            _reviewed([_settled(_YES, hits), _settled(_FINE, alarms, stratum=1)]),
            _reviewed([(0, 1.0, _YES, _YES, _YES, misses), _settled(_FINE, rest)]),
        )
    )
    n = hits + alarms + misses + rest
    assert quality.precision.point == pytest.approx(hits / (hits + alarms))
    assert quality.recall.point == pytest.approx(hits / (hits + misses))
    assert quality.prevalence.point == pytest.approx((hits + misses) / n)
    assert quality.flag_rate.point == pytest.approx((hits + alarms) / n)
    assert (quality.audits, quality.answered_flags) == (misses + rest, hits + alarms)


def test_what_waits_is_judged_by_what_began_alike() -> None:
    """By hand: a half of the audits begun, of those called wrong half confirmed, a third denied."""
    audited = [
        _settled(_FINE, 400, weight=2.0),
        (0, 2.0, _YES, _NO, _NO, 20),
        (0, 2.0, _YES, _YES, _YES, 40),
        (0, 2.0, _YES, _FINE, _NO, 15),
        (0, 2.0, _YES, _FINE, _FINE, 20),
        (0, 2.0, _YES, _FINE, _YES, 5),
        (0, 2.0, _NO, _NO, _NO, 500),
    ]
    flagged = [_settled(_YES, 300), _settled(_FINE, 100), (0, 1.0, _NO, _NO, _FINE, 40)]
    quality = estimate(Window({0: 640}, {0: 2000}, _reviewed(flagged), _reviewed(audited)))
    # 500 begun stand for 2,000; of 100 called wrong 80 have a second answer, for 40 a third of it.
    misses = 4 * (100 * 40 / 80 + 100 * 40 / 80 * 5 / 25)
    # 40 are settled without having been begun, and say nothing of the 200 that wait.
    hits, alarms = 600 * 3 / 4, 600 / 4 + 40
    assert quality.precision.point == pytest.approx(hits / (hits + alarms))
    assert quality.recall.point == pytest.approx(hits / (hits + misses))
    assert quality.found_misses == 45


def test_what_waits_is_judged_where_it_is() -> None:
    """By those of its own stratum that began alike, if these are enough to tell."""
    elsewhere = [(0, 1.0, _YES, _YES, _YES, 90), (0, 1.0, _YES, _FINE, _FINE, 10)]
    for told, hits in ((50, 90 + 200 * 10 / 50), (5, 300 * (90 + 1) / (100 + 5))):
        flagged = [
            *elsewhere,
            (1, 1.0, _YES, _YES, _YES, told // 5),
            (1, 1.0, _YES, _FINE, _FINE, told - told // 5),
            (1, 1.0, _YES, _NO, _NO, 200 - told),
        ]
        window = Window({0: 100, 1: 200}, {0: 1000}, _reviewed(flagged), _reviewed([]))
        assert estimate(window).precision.point == pytest.approx(hits / 300)


def test_what_waits_for_a_second_person_is_known_to_be_there() -> None:
    """Half of 40 likely misses wait: that tells more than 20 of which nobody knew the others."""

    def width(*misses: Row, passes: int) -> float:
        found = estimate(
            Window(
                flags={0: 300},
                passes={0: passes},
                flagged=_reviewed([_settled(_YES, 300)]),
                audited=_reviewed([*misses, _settled(_FINE, (passes - 400) // 10, weight=10)]),
            )
        )
        return _width(found.recall)

    def likely(cases: int, settled: Said) -> Row:
        return 0, 10.0, _YES, settled, settled, cases

    all_settled = width(likely(40, _YES), passes=4000)
    assert width(likely(20, _YES), likely(20, _NO), passes=4000) == pytest.approx(all_settled)
    # Where not all of them turn out to be misses, it is by chance which of the others are.
    fewer = width(likely(16, _YES), likely(4, _FINE), likely(20, _NO), passes=4000)
    assert fewer > width(likely(32, _YES), likely(8, _FINE), passes=4000)


def _width(estimate: Estimate) -> float:
    """On the logit."""
    assert estimate.lower is not None
    assert estimate.upper is not None
    return math.log(estimate.upper / (1 - estimate.upper) * (1 / estimate.lower - 1))


@pytest.mark.parametrize(("misses", "is_known"), [(4, False), (5, True)])
def test_too_few_found_misses_are_no_estimate(misses: int, *, is_known: bool) -> None:
    """Four misses say nothing of recall; precision needs no audits."""
    flagged = _reviewed([_settled(_YES, 50), _settled(_FINE, 50)])
    audited = _reviewed([(0, 10.0, _YES, _YES, _YES, misses), _settled(_FINE, 90, weight=10.0)])
    quality = estimate(Window({0: 100}, {0: 1000}, flagged, audited))
    assert (quality.recall.point is not None) == is_known
    assert (quality.prevalence.point is not None) == is_known
    assert is_known or "4 misses; 5 are needed" in str(quality.recall.reason)
    assert quality.precision.point == 0.5


def test_where_nobody_like_them_is_settled_nothing_is_known() -> None:
    """Audits that a lead has yet to see may all be misses, or none."""
    flagged = _reviewed([_settled(_YES, 50), _settled(_FINE, 50)])
    certain = [(0, 10.0, _YES, _YES, _YES, 9), _settled(_FINE, 81, weight=10.0)]
    for waiting, is_known in ((9, False), (0, True)):
        audited = _reviewed([*certain, (0, 10.0, _YES, _FINE, _NO, waiting)])
        quality = estimate(Window({0: 100}, {0: 1000}, flagged, audited))
        assert (quality.recall.point is not None) == is_known
    flagged = _reviewed([(0, 1.0, _UP, _NO, _NO, 5), _settled(_YES, 95)])
    quality = estimate(Window({0: 100}, {0: 1000}, flagged, _reviewed(certain)))
    assert "for 5 flags wait" in str(quality.precision.reason)
    assert "for 5 flags wait" in str(quality.recall.reason)


@pytest.mark.parametrize(("unreached", "is_known"), [(40, True), (400, False)])
def test_flags_of_scores_that_hardly_anybody_comes_to(unreached: int, *, is_known: bool) -> None:
    """Up to one in ten are judged by the nearest; more are not, though a few were decided on."""
    flagged = [_settled(_YES, 300), _settled(_FINE, 260, stratum=1), _settled(_FINE, 2, stratum=2)]
    audited = [(0, 9.0, _YES, _YES, _YES, 20), _settled(_FINE, 280, weight=9.0)]
    flags = {0: 300, 1: 260, 2: unreached}
    quality = estimate(Window(flags, {0: 2700}, _reviewed(flagged), _reviewed(audited)))
    for found in (quality.precision, quality.recall, quality.prevalence):
        assert (found.point is not None) == is_known
        assert is_known or "like about 395 of 960 flags is decided on" in str(found.reason)


@pytest.mark.parametrize(("unreached", "is_known"), [(280, True), (2800, False)])
def test_policies_of_which_no_audit_is_answered(unreached: int, *, is_known: bool) -> None:
    """With a tenth of all passes others stand for them; a larger one may be of another kind."""
    flagged = _reviewed([_settled(_YES, 300), _settled(_FINE, 300)])
    audited = _reviewed([(0, 9.0, _YES, _YES, _YES, 20), _settled(_FINE, 280, weight=9.0)])
    quality = estimate(Window({0: 600}, {0: 2700, 1: unreached}, flagged, audited))
    assert quality.precision.point == 0.5
    for found in (quality.recall, quality.prevalence):
        assert (found.point is not None) == is_known
        assert is_known or found.reason == (
            "hardly anything like about 2,800 of 5,500 passes is decided on: "
            "the cases that wait need answers"
        )


def test_without_a_decision_there_is_no_precision() -> None:
    """Nor is there one of no flags; with no flag at all, what was audited was all missed."""
    audited = _reviewed([(0, 10.0, _YES, _YES, _YES, 9), _settled(_FINE, 91, weight=10.0)])
    nobody = estimate(Window({0: 100, 1: 20}, {0: 1000}, _reviewed([]), audited))
    assert nobody.precision.reason == "nobody has decided on any of 120 flags"
    assert nobody.recall.reason == "nobody has decided on any of 120 flags"
    none = estimate(Window({}, {0: 1000}, _reviewed([]), audited))
    assert none.precision.reason == "nothing was flagged"
    assert (none.recall.point, none.recall.lower) == (0, 0)
    assert 0 < float(none.recall.upper or 0) < 0.1


def test_unsure_belongs_to_neither_class() -> None:
    """It stands for its like among the flags, and for no share of precision."""
    said = _reviewed([_settled(_YES, 60), _settled(_FINE, 20), _settled(_UNSURE, 20)])
    quality = estimate(Window({0: 100}, {0: 1000}, said, said))
    assert quality.precision.point == pytest.approx(60 / 80)
    assert quality.unsure.point == pytest.approx(40 / 200)


def test_nothing_at_all_is_no_estimate() -> None:
    """An empty window says so, and breaks nothing."""
    quality = estimate(Window({}, {}, _reviewed([]), _reviewed([])))
    assert all(getattr(quality, name).point is None for name in _SHARES)


def test_strata_of_few_are_pooled_with_those_before() -> None:
    """So that what nobody has come to is judged by the nearest; the first with what follows."""
    counts = np.array([3.0, 40, 30, 20, 20, 0, 20, 2])
    known = np.array([1.0, 12, 30, 8, 4, 0, 0, 2])
    pools = pooled(counts, known, fewest=10).tolist()
    assert [pools.index(pool) for pool in pools] == [0, 0, 2, 3, 3, 3, 3, 7]
    assert pooled(counts, 0 * known, fewest=10).tolist() == [0] * 8


@given(_windows())
def test_nobody_is_forgotten(window: Window) -> None:
    """Those settled stand for all that came in, but for those nobody could stand for."""
    for cases, counts in ((window.flagged, window.flags), (window.audited, window.passes)):
        weighted = weigh(cases, counts, fewest=10)
        stood_for = weighted.weights @ cases.cases
        total = stood_for + weighted.unseen + weighted.waiting
        assert total == pytest.approx(sum(counts.values()))
        assert (weighted.weights[cases.settled == _NO] == 0).all()


def _assert_same(quality: Quality, expected: Quality) -> None:
    for each in fields(Quality):
        one, other = getattr(quality, each.name), getattr(expected, each.name)
        if isinstance(one, Estimate):
            assert (one.point is None) == (other.point is None)
            if one.point is not None:
                assert [one.point, one.lower, one.upper] == pytest.approx(
                    [other.point, other.lower, other.upper]
                )
        else:
            assert one == other
