"""What a threshold is chosen for."""

from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats
from moderation.errors import InputRefused
from thresholds.labels import Bools
from thresholds.rates import precision_at

# Rounding of a quotient must not fail what reaches its target exactly.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Target:
    """A least precision, a least recall, both, or a most of all posts that may be flagged.

    All are shares at `prevalence`, the expected share of mismatches. Raises `InputRefused` for
    shares that are none, for no target, and for a capacity beside a rate.
    """

    prevalence: float
    precision_min: float | None = None
    recall_min: float | None = None
    flags_max: float | None = None

    def __post_init__(self) -> None:
        wanted = (self.precision_min, self.recall_min)
        if (self.flags_max is None) is (wanted == (None, None)):
            raise InputRefused(
                "say what the threshold is for: a least precision, a least recall, both, or a "
                "number of reviews a day; reviews a day go with neither of the others"
            )
        for name, value in (
            ("prevalence", self.prevalence),
            ("least precision", self.precision_min),
            ("least recall", self.recall_min),
        ):
            if value is not None and not 0 < value < 1:
                raise InputRefused(f"the {name} must lie between 0 and 1, is {value}")
        if self.flags_max is not None and not 0 < self.flags_max < 1:
            raise InputRefused(
                "reviews a day must be above 0 and fewer than the posts of a day; whoever can "
                "review every post needs no threshold"
            )

    def is_met(self, recall: Floats, false_positive_rate: Floats) -> Bools:
        """Whether rates, (n,) each, reach it; flagging no mismatch reaches nothing."""
        met = recall > 0
        if self.precision_min is not None:
            precision = precision_at(recall, false_positive_rate, self.prevalence)
            met &= precision >= self.precision_min - _ROUNDING
        if self.recall_min is not None:
            met &= recall >= self.recall_min - _ROUNDING
        if self.flags_max is not None:
            met &= self.flags(recall, false_positive_rate) <= self.flags_max + _ROUNDING
        return met

    def best(self, recall: Floats, false_positive_rate: Floats) -> int:
        """Which of the rates that reach it, (n,) each, is best.

        The highest recall; the highest precision where only a least recall is asked for.
        """
        precision = precision_at(recall, false_positive_rate, self.prevalence)
        only_recall = self.precision_min is None and self.flags_max is None
        # The last key of lexsort counts first.
        keys = (recall, precision) if only_recall else (precision, recall)
        return int(np.lexsort(keys)[-1])

    def flags(self, recall: Floats, false_positive_rate: Floats) -> Floats:
        """The share of all posts flagged at its prevalence, (n,)."""
        return self.prevalence * recall + (1 - self.prevalence) * false_positive_rate

    def __str__(self) -> str:
        parts = []
        if self.precision_min is not None:
            parts.append(f"precision >= {self.precision_min:g}")
        if self.recall_min is not None:
            parts.append(f"recall >= {self.recall_min:g}")
        if self.flags_max is not None:
            parts.append(f"flags <= {100 * self.flags_max:.3g} % of posts")
        return " and ".join(parts)
