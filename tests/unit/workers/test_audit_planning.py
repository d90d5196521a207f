"""How many passes a day are expected, and what is planned for them."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.store.audit_plans import (
    ASSUMED_PASSES_PER_DAY,
    ASSUMED_PREVALENCE,
    Auditing,
    assumed,
)
from moderation.store.recent_passes import RecentPasses
from workers.audit_planning import differs, expected_passes, plan_for

NO_SCORES = np.zeros(0)
LONG = timedelta(days=90)


def seen(
    in_day: int, in_hour: int = 0, history: timedelta = LONG, scores: np.ndarray = NO_SCORES
) -> RecentPasses:
    """What passed in the last day."""
    return RecentPasses(in_day, in_hour, history, scores)


@pytest.mark.parametrize(
    ("recent", "passes"),
    [
        # Nobody knows what comes, at the start or after a day without anything.
        (seen(0, history=timedelta(0)), 5_000),
        (seen(0), 5_000),
        # A known day is like the next, unless its last hour is busier than afternoons are.
        (seen(24_000, 1000), 24_000),
        (seen(24_000, 3000), 24_000),
        (seen(24_000, 6000), 48_000),
        (seen(50, 2), 50),
        # Some minutes count for little beside what is assumed, some hours for nearly everything.
        (seen(300, 300, timedelta(minutes=5)), 11_300),
        (seen(3472, 3472, timedelta(minutes=5)), 81_800),
        (seen(500_000, 41_666, timedelta(hours=12)), 960_000),
        (seen(25, 2, timedelta(hours=12)), 248),
    ],
)
def test_the_next_day_is_expected_to_be_like_the_last(recent: RecentPasses, passes: float) -> None:
    """Neither one busy minute at the start nor one quiet day says that there will be no more."""
    assert expected_passes(recent) == pytest.approx(passes, rel=0.01)


@given(st.integers(1, 10**8), st.integers(0, 10**7), st.floats(0, 72))
def test_what_is_expected_is_some_number(in_day: int, in_hour: int, hours: float) -> None:
    """Whatever was seen: never none, which would audit nothing of what comes."""
    recent = seen(max(in_day, in_hour), in_hour, timedelta(hours=hours))
    passes = expected_passes(recent)
    assert passes >= in_hour * 8
    most = 24 * max(in_day, in_hour) + ASSUMED_PASSES_PER_DAY
    assert 1 <= passes <= most * (1 + 1e-9)


@pytest.mark.parametrize("passes_per_day", [500, 24_000, 3_000_000])
def test_a_day_as_expected_costs_the_budget(passes_per_day: int) -> None:
    """With scores as they are, most of them sure."""
    scores = np.random.default_rng(1).beta(8, 1, 5000)
    auditing = plan_for(seen(passes_per_day, scores=scores), budget=200, prevalence=0.02)
    audits = passes_per_day * np.mean([auditing.inclusion(score) for score in scores.tolist()])
    assert audits == pytest.approx(200, rel=1e-6)
    assert auditing.inclusion(0.4) > auditing.inclusion(0.99) > 0


def test_few_scores_say_nothing_of_who_is_in_doubt() -> None:
    """Of ten sure passes the next doubtful one would get a hundred times the probability."""
    sure = np.full(10, 0.999)
    auditing = plan_for(seen(10_000, scores=sure), budget=200, prevalence=0.05)
    assert auditing.inclusion(0.4) == auditing.inclusion(0.999) == pytest.approx(0.02)


def test_what_is_assumed_audits_evenly() -> None:
    """Four in a hundred with the budget that is set; none without one."""
    assert [assumed(200).inclusion(score) for score in (0.0, 0.4, 1.0)] == [0.04] * 3
    assert assumed(0).inclusion(0.5) == 0
    assert plan_for(seen(10_000), budget=0, prevalence=0.05).inclusion(0.5) == 0
    assert assumed(200).prevalence == ASSUMED_PREVALENCE


def test_small_differences_make_no_plan() -> None:
    """A tenth is what traffic varies by; another budget is somebody's will."""

    def planned(passes: int, *, budget: float = 200, prevalence: float = 0.05) -> Auditing:
        scores = np.random.default_rng(1).beta(8, 1, 1000)
        return plan_for(seen(passes, scores=scores), budget=budget, prevalence=prevalence)

    one = planned(10_000)
    assert not differs(one, planned(10_900))
    assert differs(one, planned(11_500))
    assert differs(one, planned(8_900))
    assert differs(one, planned(10_000, budget=201))
    assert differs(one, planned(10_000, prevalence=0.03))
    assert differs(one, assumed(200))
