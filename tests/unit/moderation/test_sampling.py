"""Which passes are audited, and how likely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moderation.quality.sampling import (
    UNIFORM_SHARE,
    AuditPlan,
    plan_audits,
    posterior_of_mismatch,
)

_POSTERIORS = arrays(
    np.float64, st.integers(1, 200), elements=st.floats(0, 1) | st.sampled_from([0.0, 1e-12, 1.0])
)


@given(_POSTERIORS, st.floats(0.1, 1e6), st.floats(1, 1e7))
def test_a_plan_spends_the_budget(posteriors: np.ndarray, budget: float, passes: float) -> None:
    """Passes like the sample are audited as often as the budget allows, whatever they look like."""
    plan = plan_audits(budget, passes, posteriors)
    inclusions = plan.inclusions(posteriors)
    assert passes * inclusions.mean() == pytest.approx(min(budget, passes), rel=1e-6)
    assert plan.floor * passes >= UNIFORM_SHARE * min(budget, passes) * (1 - 1e-9)
    assert ((inclusions > 0) & (inclusions <= 1)).all()


@given(_POSTERIORS, st.floats(0, 1), st.floats(0, 100))
def test_one_by_one_or_all_together(posteriors: np.ndarray, floor: float, slope: float) -> None:
    """The worker's draw of one submission has the probability that the plan was made with."""
    plan = AuditPlan(floor, slope)
    alone = [plan.inclusion(float(posterior)) for posterior in posteriors]
    assert plan.inclusions(posteriors) == pytest.approx(alone)


def test_doubtful_passes_are_audited_more() -> None:
    """Where a miss is as likely as not, most is to be learned."""
    plan = plan_audits(100, 10_000, np.array([0.5, 0.1, 0.01, 0.0]))
    inclusions = [plan.inclusion(posterior) for posterior in (0.5, 0.1, 0.01, 0.0)]
    assert inclusions == sorted(inclusions, reverse=True)
    assert inclusions[-1] == pytest.approx(UNIFORM_SHARE * 0.01)


def test_nothing_is_audited_without_a_budget() -> None:
    """A budget of none is no reason to divide by it."""
    assert plan_audits(0, 1000, np.array([0.5])) == AuditPlan(0.0, 0.0)
    assert plan_audits(10, 0, np.array([])) == AuditPlan(0.0, 0.0)


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_a_posterior_is_by_bayes(score: float, prevalence: float) -> None:
    """It agrees with counting pairs of either kind that have this score."""
    expected = prevalence * (1 - score) / (prevalence * (1 - score) + (1 - prevalence) * score)
    assert posterior_of_mismatch(score, prevalence) == pytest.approx(expected)
    assert posterior_of_mismatch(score, 0.5) == pytest.approx(1 - score)


@pytest.mark.parametrize(("floor", "slope"), [(-0.1, 0), (1.1, 0), (0.1, -1), (0.1, float("inf"))])
def test_what_is_no_plan_is_refused(floor: float, slope: float) -> None:
    """A probability above one, or none at all, would make every estimate wrong in silence."""
    with pytest.raises(ValueError, match="floor"):
        AuditPlan(floor, slope)
