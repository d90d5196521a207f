"""The plans of simulated days' audits, made as the scheduler makes them."""

import numpy as np
from sqlalchemy import Connection

from moderation.curves import Floats
from moderation.quality.sampling import plan_audits
from moderation.store import audit_plans
from moderation.store.audit_plans import ASSUMED_PREVALENCE, Auditing

_LEAST = 0.001


def plan_first_day(connection: Connection, budget: float, posts_per_day: float) -> Auditing:
    """Put the plan in force by which every pass is as likely to be audited as any other."""
    plan = plan_audits(budget, posts_per_day, np.zeros(1))
    return audit_plans.add(connection, Auditing(plan, ASSUMED_PREVALENCE, budget, posts_per_day))


def plan_next_day(
    connection: Connection, budget: float, pass_scores: Floats, prevalence: float | None
) -> Auditing:
    """Put the plan in force that spends the budget on passes like those of today, (n,).

    The prevalence is the one estimated last, if there is one.
    """
    # One of nothing, or of all, would leave no pass in doubt.
    taken = min(max(prevalence or ASSUMED_PREVALENCE, _LEAST), 1 - _LEAST)
    mismatch, match = (1 - pass_scores) * taken, pass_scores * (1 - taken)
    passes = len(pass_scores)
    plan = plan_audits(budget, passes, mismatch / (mismatch + match))
    return audit_plans.add(connection, Auditing(plan, taken, budget, passes))
