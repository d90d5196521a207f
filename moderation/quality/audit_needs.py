"""How many audits a day tell the recall of four weeks so exactly, and what a budget tells. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from moderation.quality.estimates import FEWEST_MISSES
from moderation.quality.planning import (
    Band,
    Traffic,
    misses_needed,
    stratified_audits,
    uniform_audits,
    within_reach,
)
from moderation.quality.words import BUDGET, about

DAYS = 28

# A good score leaves few misses far from the threshold; how few is known only afterwards.
BAND = Band(passes=0.05, misses=0.9)


@dataclass(frozen=True, slots=True)
class Way:
    """How many audits of `DAYS` reach the interval if drawn in one way.

    `budget_reaches` is half of the interval that the budget gives; None where that finds too few
    misses for any figure.
    """

    audits: float
    budget_reaches: float | None

    @property
    def a_day(self) -> float:
        """The audits of a day."""
        return self.audits / DAYS

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "audits": self.audits,
            "audits_per_day": self.a_day,
            "budget_reaches": self.budget_reaches,
        }


@dataclass(frozen=True, slots=True)
class AuditNeeds:
    """What an interval of recall of `± within` takes, and what the budget that is set gives."""

    traffic: Traffic
    within: float
    budget_per_day: int
    ways: Mapping[str, Way]

    @classmethod
    def of(cls, traffic: Traffic, within: float, budget_per_day: int) -> Self:
        """Reckon both ways to draw audits."""
        reached = min(within, within_reach(traffic, FEWEST_MISSES / traffic.misses_per_pass))
        uniform = uniform_audits(traffic, reached)
        stratified = stratified_audits(traffic, reached, BAND)
        budget = budget_per_day * DAYS
        return cls(
            traffic,
            within,
            budget_per_day,
            {
                "uniform": Way(uniform, _reach(traffic, budget)),
                # So many stratified audits tell as much as more uniform ones.
                "stratified": Way(stratified, _reach(traffic, budget * uniform / stratified)),
            },
        )

    @property
    def misses(self) -> float:
        """How many misses have to be found: for the interval, and for any figure at all."""
        return max(misses_needed(self.traffic.recall, self.within), FEWEST_MISSES)

    def says(self) -> list[str]:
        """The same in words."""
        shares = (self.traffic.recall, self.traffic.prevalence, self.traffic.flag_rate)
        recall, prevalence, flag_rate = (f"{100 * share:.4g}" for share in shares)
        points = f"{100 * self.within:.3g}"
        goal = (
            f"For a recall of {recall} % known to ± {points} points (95 % interval), if "
            f"{prevalence} % of posts are mismatches and {flag_rate} % are flagged, audits have "
            f"to find about {about(self.misses)} misses{self._no_fewer()}."
        )
        ways = (
            "Uniform: each pass is as likely to be audited as any other. Stratified: passes in "
            "doubt are audited more, as captionguard does; reckoned as if "
            f"{100 * BAND.passes:g} % of the passes had {100 * BAND.misses:g} % of the misses."
        )
        budget = (
            f"{BUDGET} is {self.budget_per_day:,}: {self.budget_per_day * DAYS:,} audits in "
            f"{DAYS} days{self._too_few()}"
        )
        return [goal, ways, budget]

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "prevalence": self.traffic.prevalence,
            "recall": self.traffic.recall,
            "flag_rate": self.traffic.flag_rate,
            "within": self.within,
            "days": DAYS,
            "misses": self.misses,
            "budget_per_day": self.budget_per_day,
            "band": {"passes": BAND.passes, "misses": BAND.misses},
            **{name: way.to_document() for name, way in self.ways.items()},
        }

    def _no_fewer(self) -> str:
        is_least = self.misses == FEWEST_MISSES
        return ", since below that there is no figure" if is_least else ""

    def _too_few(self) -> str:
        if all(way.budget_reaches is not None for way in self.ways.values()):
            return "."
        return f"; below {FEWEST_MISSES} found misses there is no figure at all (–)."


def _reach(traffic: Traffic, audits: float) -> float | None:
    if audits * traffic.misses_per_pass < FEWEST_MISSES:
        return None
    return within_reach(traffic, audits)
