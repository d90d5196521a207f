"""The scheduler plans the audits: so many a day as the budget allows, of what is to come."""

import math
from datetime import datetime, timedelta

import numpy as np
import structlog
from sqlalchemy import Connection

from moderation.quality.figures import Scope
from moderation.quality.sampling import plan_audits, posterior_of_mismatch
from moderation.settings import Settings
from moderation.store import audit_plans, quality_estimates, recent_passes
from moderation.store.audit_plans import ASSUMED_PASSES_PER_DAY, ASSUMED_PREVALENCE, Auditing
from moderation.store.recent_passes import RecentPasses

log = structlog.get_logger()

_HOUR = timedelta(hours=1)
_DAY_H = 24.0
# An hour may be so many times as busy as the day, as afternoons are; a busier one is a new time.
_BUSY_HOUR = 3.0
# The fewer scores are known, the more audits the next doubtful ones cost than was planned.
_FEWEST_SCORES = 200
# The longest window is known best.
_PREVALENCE_OF = Scope(28)
# All of one kind would leave no pass in doubt.
_LEAST, _MOST = 0.001, 0.999
# A plan that differs less is none worth a row.
_NOTABLE = 0.1


def replan(connection: Connection, settings: Settings, now: datetime) -> Auditing:
    """Put a plan for the coming day in force, if it differs from the one that is; what is.

    For one scheduler at a time.
    """
    before = audit_plans.newest(connection)
    after = plan_for(
        recent_passes.until(connection, now),
        budget=settings.audit_budget_per_day,
        prevalence=_prevalence(connection),
    )
    if before is not None and not differs(before, after):
        return before
    log.info(
        "audits_planned",
        budget=after.budget,
        passes_per_day=round(after.passes_per_day),
        prevalence=after.prevalence,
        floor=after.plan.floor,
        slope=after.plan.slope,
    )
    return audit_plans.add(connection, after)


def plan_for(seen: RecentPasses, *, budget: float, prevalence: float) -> Auditing:
    """The plan that spends the budget on a day like the one that was seen."""
    scores = seen.scores if len(seen.scores) >= _FEWEST_SCORES else np.ones(1)
    posteriors = np.array([posterior_of_mismatch(score, prevalence) for score in scores.tolist()])
    passes = expected_passes(seen)
    return Auditing(plan_audits(budget, passes, posteriors), prevalence, budget, passes)


def expected_passes(seen: RecentPasses) -> float:
    """How many passes a day has, as far as the last one tells.

    What is assumed of an installation that has just begun counts as an hour of its history, and
    ever less until there is a whole day. A day without any tells nothing of the next one.
    """
    if not seen.in_day:
        return ASSUMED_PASSES_PER_DAY
    history_h = min(seen.history / _HOUR, _DAY_H)
    assumed_h = 1 - history_h / _DAY_H
    assumed = ASSUMED_PASSES_PER_DAY / _DAY_H * assumed_h
    day = (seen.in_day + assumed) / (history_h + assumed_h) * _DAY_H
    return max(day, seen.in_hour * _DAY_H / _BUSY_HOUR)


def differs(one: Auditing, other: Auditing) -> bool:
    """Whether two plans audit notably otherwise."""
    pairs = (
        (one.plan.floor, other.plan.floor),
        (one.plan.slope, other.plan.slope),
        (one.prevalence, other.prevalence),
    )
    return one.budget != other.budget or any(
        not math.isclose(a, b, rel_tol=_NOTABLE) for a, b in pairs
    )


def _prevalence(connection: Connection) -> float:
    """What audits have found it to be, as far as they have found enough to know."""
    figures = quality_estimates.newest(connection)
    quality = figures.of.get(_PREVALENCE_OF) if figures is not None else None
    if quality is None or quality.prevalence.point is None:
        return ASSUMED_PREVALENCE
    return min(max(quality.prevalence.point, _LEAST), _MOST)
