"""What slows audits down in a burst that no plan has foreseen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.auditing import Audits, Brake


@given(st.floats(0.001, 1), st.floats(1, 500), st.integers(1, 5000))
def test_a_burst_floods_nobody(probability: float, allowed: float, passes: int) -> None:
    """Up to what is allowed nothing is slowed; beyond it, audits grow as a logarithm does."""
    brake = Brake()
    slowed = [brake.slow(probability, allowed=allowed) for _ in range(passes)]
    unslowed = probability * passes
    if unslowed <= allowed:
        assert slowed == [probability] * passes
    assert sum(slowed) <= allowed * (1 + max(0.0, math.log(unslowed / allowed))) + 2 * probability
    assert all(0 < each <= probability for each in slowed)
    assert slowed == sorted(slowed, reverse=True)


def test_an_hour_later_nothing_is_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then the scheduler has planned for what came."""
    now_s = 1000.0
    monkeypatch.setattr("workers.auditing.time.monotonic", lambda: now_s)
    brake = Brake()
    slowed = [brake.slow(1.0, allowed=10) for _ in range(1000)]
    assert slowed[-1] == pytest.approx(0.01, rel=0.02)
    now_s += 3600
    assert brake.slow(1.0, allowed=10) == 1.0


def test_as_many_as_were_planned_are_not_slowed() -> None:
    """Half of the budget within an hour is far beyond any day's busiest one."""
    audits = Audits(200)
    assert {audits.inclusion(0.9) for _ in range(2500)} == {0.04}
    assert [Audits(0).inclusion(0.9) for _ in range(3)] == [0, 0, 0]
