"""Which passes are audited: the probability with which each goes to review. Pure.

Recall cannot be known from what is flagged. So of what passes a part is drawn at random, each
submission with a probability that is fixed when it is scored and stored with its case: more where
a miss is likely, and at least the floor everywhere, since what nobody ever looks at is not known.
"""

import math
from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats

# Of the budget; what the score is sure of is audited too, or its blind spots stay unseen.
UNIFORM_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """Inclusion probability `floor + slope * sqrt(q (1 - q))`, at most 1, for a posterior q."""

    floor: float
    slope: float

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= 1 and self.slope >= 0 and math.isfinite(self.slope)):
            raise ValueError("a floor lies in [0, 1], and a slope is not negative")

    def inclusion(self, posterior: float) -> float:
        """The probability, in [0, 1], of auditing a pass of this posterior of mismatch."""
        return min(1.0, self.floor + self.slope * math.sqrt(posterior * (1 - posterior)))

    def inclusions(self, posteriors: Floats) -> Floats:
        """`inclusion` of each posterior, (n,)."""
        return np.minimum(1.0, self.floor + self.slope * np.sqrt(posteriors * (1 - posteriors)))


def posterior_of_mismatch(score: float, prevalence: float) -> float:
    """The probability that a pair of this match score is a mismatch, by Bayes.

    A score is the probability of a match where matches and mismatches are equally frequent, so
    that the odds of a mismatch are `(1 - score) / score * prevalence / (1 - prevalence)`.
    """
    mismatch, match = (1 - score) * prevalence, score * (1 - prevalence)
    return mismatch / (mismatch + match) if mismatch + match > 0 else 0.0


def plan_audits(budget: float, passes: float, posteriors: Floats) -> AuditPlan:
    """The plan that audits `budget` of `passes` submissions in expectation.

    `posteriors`, (n,), are those of a sample of passes. At least `UNIFORM_SHARE` of the budget is
    the floor; it is more where the posteriors leave the rest nothing to be spent on, as where
    none is in doubt. All is audited where the budget is as large as the passes.
    """
    if budget <= 0 or passes <= 0:
        return AuditPlan(0.0, 0.0)
    wanted = budget / passes
    if wanted >= 1:
        return AuditPlan(1.0, 0.0)
    spread = np.sqrt(posteriors * (1 - posteriors))
    if not spread.any():
        return AuditPlan(wanted, 0.0)
    floor = UNIFORM_SHARE * wanted
    n = len(spread)
    steepest_first = np.sort(spread[spread > 0])[::-1]
    # With the k most doubtful audited for certain, this slope spends what is left on the others.
    certain = np.arange(len(steepest_first))
    left = np.cumsum(steepest_first[::-1])[::-1]
    slopes = (n * wanted - certain - floor * (n - certain)) / left
    fits = floor + slopes * steepest_first <= 1
    if fits.any():
        return AuditPlan(floor, float(slopes[np.argmax(fits)]))
    doubtful = len(steepest_first)
    return AuditPlan((n * wanted - doubtful) / (n - doubtful), 1 / float(steepest_first[-1]))
