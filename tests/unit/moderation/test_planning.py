"""How many audits an interval of recall needs."""

import math

import numpy as np
import pytest

from moderation.quality.planning import (
    Band,
    Traffic,
    misses_needed,
    stratified_audits,
    uniform_audits,
    within_reach,
)

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
