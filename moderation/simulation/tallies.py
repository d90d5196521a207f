"""What one would compute by hand from the same answers, without their weights or second ones."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from moderation.review.rules import Resolved
from moderation.simulation.reviewers import Decided
from moderation.store.cases import Route
from moderation.store.decisions import Answer


@dataclass(slots=True)
class _Day:
    """Answers, so far, to the cases of what came in on one day."""

    hits: int = 0
    alarms: int = 0
    misses: int = 0
    rest: int = 0
    first_hits: float = 0.0
    first_misses: float = 0.0

    def settle(self, is_flag: bool, answer: Answer) -> None:
        """Count a settled case."""
        is_mismatch = answer is Answer.MISMATCH
        if is_mismatch and is_flag:
            self.hits += 1
        elif is_mismatch:
            self.misses += 1
        elif answer is Answer.MATCH and is_flag:
            self.alarms += 1
        elif answer is Answer.MATCH:
            self.rest += 1


@dataclass(frozen=True, slots=True)
class ByHand:
    """Shares on labelled rows only, each of the same weight, and what one person's word makes.

    `recall` is decided flags that are mismatches among all decided mismatches, `precision` those
    among decided flags, `prevalence` mismatches among all that is decided. `recall_of_one` has
    the weights, but takes the first answer to an audit for a miss. None where there is nothing to
    divide by.
    """

    precision: float | None
    recall: float | None
    prevalence: float | None
    recall_of_one: float | None


class Tallies:
    """Counts of answers by the day on which their posts came in."""

    def __init__(self) -> None:
        self._days: dict[int, _Day] = defaultdict(_Day)

    def add(self, day: int, decided: Iterable[Decided]) -> None:
        """Count answers to cases of what came in on a day."""
        counts = self._days[day]
        for each in decided:
            is_flag = each.case.opened.route is Route.FLAGGED
            if each.is_first and each.answer is Answer.MISMATCH:
                if is_flag:
                    counts.first_hits += 1
                else:
                    counts.first_misses += 1 / each.case.opened.inclusion_probability
            if isinstance(each.then, Resolved):
                counts.settle(is_flag, each.then.answer)

    def of(self, days: range) -> ByHand:
        """The shares of what came in on these days."""
        found = [self._days[day] for day in days]
        hits, alarms = sum(each.hits for each in found), sum(each.alarms for each in found)
        misses, rest = sum(each.misses for each in found), sum(each.rest for each in found)
        first_hits = sum(each.first_hits for each in found)
        first_misses = sum(each.first_misses for each in found)
        return ByHand(
            precision=_share(hits, alarms),
            recall=_share(hits, misses),
            prevalence=_share(hits + misses, alarms + rest),
            recall_of_one=_share(first_hits, first_misses),
        )


def _share(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest else None
