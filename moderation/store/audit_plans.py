"""Plans of which passes are audited. The newest is in force; none is ever changed."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, RowMapping, func, insert, select

from moderation.quality.sampling import AuditPlan, plan_audits, posterior_of_mismatch
from moderation.store.quality_tables import audit_plans

# Until audits have found enough misses to know it.
ASSUMED_PREVALENCE = 0.05
# Until there is traffic to count: some hundreds of posts have audits to see, and hundreds of
# thousands no flood of them.
ASSUMED_PASSES_PER_DAY = 5_000.0


@dataclass(frozen=True, slots=True)
class Auditing:
    """A plan, the prevalence of mismatches it takes scores with, and what it was made for.

    That is `budget` audits a day, of `passes_per_day`. Without `created_at` it is stored nowhere.
    """

    plan: AuditPlan
    prevalence: float
    budget: float
    passes_per_day: float
    created_at: datetime | None = None

    def inclusion(self, score: float) -> float:
        """The probability, in [0, 1], with which a pass of this match score is audited."""
        return self.plan.inclusion(posterior_of_mismatch(score, self.prevalence))


def assumed(budget: float) -> Auditing:
    """The plan for traffic that nothing is known of: every pass is as likely as any other."""
    plan = plan_audits(budget, ASSUMED_PASSES_PER_DAY, np.zeros(1))
    return Auditing(plan, ASSUMED_PREVALENCE, budget, ASSUMED_PASSES_PER_DAY)


def newest(connection: Connection) -> Auditing | None:
    """The plan in force; None before there has been any."""
    row = connection.execute(_NEWEST).mappings().one_or_none()
    return _auditing(row) if row else None


def first_at(connection: Connection) -> datetime | None:
    """Since when passes are audited; None if they never were."""
    first: datetime | None = connection.execute(_FIRST_AT).scalar_one()
    return first


def add(connection: Connection, auditing: Auditing) -> Auditing:
    """Put a plan in force; it as stored."""
    added = connection.execute(
        insert(audit_plans)
        .values(
            floor=auditing.plan.floor,
            slope=auditing.plan.slope,
            prevalence=auditing.prevalence,
            budget=auditing.budget,
            passes=auditing.passes_per_day,
        )
        .returning(audit_plans)
    )
    return _auditing(added.mappings().one())


_FIRST_AT = select(func.min(audit_plans.c.created_at))
_NEWEST = select(audit_plans).order_by(audit_plans.c.id.desc()).limit(1)


def _auditing(row: RowMapping) -> Auditing:
    return Auditing(
        AuditPlan(row["floor"], row["slope"]),
        row["prevalence"],
        row["budget"],
        row["passes"],
        row["created_at"],
    )
