"""How many audits an interval of recall needs."""

import math

import numpy as np
import pytest

from moderation.quality.figures import Quality
from moderation.quality.planning import (
    Band,
    Traffic,
    audits_to_halve,
    misses_needed,
    stratified_audits,
    uniform_audits,
    within_reach,
)
from moderation.quality.shares import Estimate, unknown_share

_RARE = Traffic(prevalence=0.01, recall=0.895, flag_rate=0.01)


@pytest.mark.parametrize(("within", "misses", "audits"), [(0.02, 85, 80_000), (0.05, 14, 12_700)])
def test_the_figures_of_rare_mismatches(within: float, misses: int, audits: int) -> None:
    """Where mismatches are rare, tens of thousands of audits: 1 % prevalence, 89.5 % recall."""
    assert math.ceil(misses_needed(0.895, within)) == misses
    assert uniform_audits(_RARE, within) == pytest.approx(audits, rel=0.02)


def test_a_band_in_doubt_saves_three_audits_in_four() -> None:
    """Where a twentieth of the passes has nine in ten of the misses."""
    band = Band(passes=0.05, misses=0.9)
    assert stratified_audits(_RARE, 0.02, band) == pytest.approx(21_700, rel=0.01)
    assert stratified_audits(_RARE, 0.05, band) == pytest.approx(3_470, rel=0.01)


def test_a_band_like_all_else_saves_nothing() -> None:
    """Strata that do not differ are one."""
    even = Band(passes=0.2, misses=0.2)
    assert stratified_audits(_RARE, 0.02, even) == pytest.approx(uniform_audits(_RARE, 0.02))


def test_what_so_many_audits_reach_is_what_it_took() -> None:
    """The two directions of the formula agree."""
    assert within_reach(_RARE, uniform_audits(_RARE, 0.03)) == pytest.approx(0.03)


@pytest.mark.parametrize("within", [0.02, 0.04])
def test_so_many_audits_give_such_an_interval(within: float) -> None:
    """Drawn from traffic with a known recall, estimates lie within it 95 times in 100."""
    traffic = Traffic(prevalence=0.05, recall=0.8, flag_rate=0.05)
    n = 400_000
    misses = round(n * traffic.prevalence * (1 - traffic.recall))
    found_mismatches = round(n * traffic.prevalence * traffic.recall)
    share = uniform_audits(traffic, within) / (n * (1 - traffic.flag_rate))
    drawn = np.random.default_rng(1).binomial(misses, share, 20_000) / share
    recall = found_mismatches / (found_mismatches + drawn)
    assert np.mean(np.abs(recall - traffic.recall) <= within) == pytest.approx(0.95, abs=0.012)


def _quality(*, recall: Estimate, flags: int = 10_000, passes: int = 1_000_000) -> Quality:
    half, none = Estimate(0.5, 0.4, 0.6), unknown_share("not looked at")
    return Quality(half, recall, none, none, none, flags, passes, 2_000, flags, 20)


def _of_logit(spread: float) -> Estimate:
    point, lower, upper = (1 / (1 + math.exp(-2 - sign * 1.96 * spread)) for sign in (0, -1, 1))
    return Estimate(point, lower, upper)


def test_half_an_interval_takes_three_times_as_many_more() -> None:
    """Four times the found misses; a little more where the flagged ones vary too."""
    wide = _of_logit(1 / math.sqrt(20))
    assert audits_to_halve(_quality(recall=wide, flags=10**6)) == pytest.approx(6_000, rel=0.01)
    of_flags = 1 / 1_000
    expected = 2_000 * ((0.05 - of_flags) / (0.05 / 4 - of_flags) - 1)
    assert audits_to_halve(_quality(recall=wide, flags=2_000)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "quality",
    [
        _quality(recall=unknown_share("too few misses")),
        _quality(recall=Estimate(0.9, 0.8, 1.0)),
        _quality(recall=_of_logit(0.05), flags=1_000),
        _quality(recall=_of_logit(0.2), passes=7_000),
    ],
    ids=["no interval", "no end", "flags vary more", "not so many passes"],
)
def test_no_number_of_audits_halves_it(quality: Quality) -> None:
    """Where there is no interval, or audits are not what is missing."""
    assert audits_to_halve(quality) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"prevalence": 0.0, "recall": 0.9, "flag_rate": 0.1},
        {"prevalence": 0.1, "recall": 1.0, "flag_rate": 0.1},
        {"prevalence": 0.9, "recall": 0.1, "flag_rate": 0.5},
    ],
)
def test_impossible_traffic_is_refused(wrong: dict[str, float]) -> None:
    """No number of audits fits what cannot be."""
    with pytest.raises(ValueError, match=r"prevalence|passes"):
        Traffic(**wrong)
