"""The load under which waiting times are told: four fifths of what the pipeline can, at random."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.bench.latency import Load, arrivals_s


@given(capacity_per_s=st.floats(1, 10_000), seconds=st.floats(0.1, 100), full=st.integers(1, 2_000))
def test_a_load_is_four_fifths_of_capacity(
    capacity_per_s: float, seconds: float, full: int
) -> None:
    """Whatever was asked for; it tells of as many posts as fit, but for those at its start."""
    load = Load.of(capacity_per_s, seconds=seconds, full=full)
    assert load.per_s == pytest.approx(0.8 * capacity_per_s)
    assert load.left_out == full
    told = load.posts - full
    assert min(4_000, max(3 * full, seconds * load.per_s)) <= told + 1
    assert told <= 4_000
    assert told <= max(3 * full, seconds * load.per_s)


@pytest.mark.parametrize("per_s", [5.0, 60.0, 3_000.0])
def test_posts_come_at_that_rate_and_at_random(per_s: float) -> None:
    """Gaps are exponential: their mean is the rate's inverse, and their deviation is as large."""
    gaps_s = np.diff(arrivals_s(Load(per_s, 4_000, 0), seed=int(per_s)))
    assert gaps_s.mean() == pytest.approx(1 / per_s, rel=0.05)
    assert gaps_s.std() == pytest.approx(1 / per_s, rel=0.08)
    # Of exponential gaps 1 - 1/e are shorter than the mean.
    assert np.mean(gaps_s < 1 / per_s) == pytest.approx(1 - 1 / np.e, abs=0.03)


def test_each_round_has_moments_of_its_own() -> None:
    """Another seed is another load; the same one can be had again."""
    load = Load(60.0, 100, 0)
    assert np.array_equal(arrivals_s(load, seed=1), arrivals_s(load, seed=1))
    assert not np.array_equal(arrivals_s(load, seed=1), arrivals_s(load, seed=2))
