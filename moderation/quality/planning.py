"""How many audits an interval of recall needs. Pure.

From the variance of a Poisson sample, on the scale of recall `R = TP / (TP + FN)` with the found
mismatches TP known: an audit sample that finds k misses knows FN to within `FN / sqrt(k)`, and
`dR / R = (1 - R) dFN / FN`, so that the 95 % interval is `± 1.96 R (1 - R) / sqrt(k)`.
"""

import math
from dataclasses import dataclass

from moderation.quality.figures import Quality

_NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the estimate is about: shares of all scored submissions, and the recall expected."""

    prevalence: float
    recall: float
    flag_rate: float

    def __post_init__(self) -> None:
        if not (0 < self.prevalence < 1 and 0 < self.recall < 1 and 0 <= self.flag_rate < 1):
            raise ValueError("prevalence and recall lie in (0, 1), the flag rate in [0, 1)")
        if self.prevalence * self.recall > self.flag_rate:
            raise ValueError("more would be found than is flagged: prevalence x recall")
        if self.misses_per_pass >= 1:
            raise ValueError("more would be missed than passes")

    @property
    def misses_per_pass(self) -> float:
        """The share of passes that are mismatches: one in so many audits finds a miss."""
        return self.prevalence * (1 - self.recall) / (1 - self.flag_rate)


@dataclass(frozen=True, slots=True)
class Band:
    """The passes in doubt, next to the threshold: a share of passes that has one of misses."""

    passes: float
    misses: float

    def __post_init__(self) -> None:
        if not (0 < self.passes < 1 and 0 < self.misses < 1):
            raise ValueError("the shares of a band lie in (0, 1)")


def misses_needed(recall: float, within: float) -> float:
    """How many misses have to be found for an interval of `± within`: `(1.96 R (1 - R) / d)²`."""
    return (_NORMAL * recall * (1 - recall) / within) ** 2


def uniform_audits(traffic: Traffic, within: float) -> float:
    """How many audits reach it where each pass is as likely to be audited as any other."""
    return misses_needed(traffic.recall, within) / traffic.misses_per_pass


def stratified_audits(traffic: Traffic, within: float, band: Band) -> float:
    """How many reach it where the band is audited more, by Neyman's allocation (1934).

    With inclusion probabilities in proportion to the root of a stratum's rate of misses, the
    same variance costs `(sqrt(m w) + sqrt((1 - m) (1 - w)))²` of the uniform audits, for a band
    that has w of the passes and m of the misses.
    """
    inside = math.sqrt(band.misses * band.passes)
    outside = math.sqrt((1 - band.misses) * (1 - band.passes))
    return uniform_audits(traffic, within) * (inside + outside) ** 2


def within_reach(traffic: Traffic, audits: float) -> float:
    """Half the width of the 95 % interval that so many uniform audits give."""
    found = audits * traffic.misses_per_pass
    return _NORMAL * traffic.recall * (1 - traffic.recall) / math.sqrt(found)


def audits_to_halve(quality: Quality) -> float | None:
    """How many audits more, in the same time, would make recall's interval half as wide.

    About three times those there were: 4k found misses know FN to within half of what k do. It
    takes more where chance has a part in how many mismatches were flagged, which audits do not
    change. None where there is no interval, or so many audits cannot be: chance alone is wider
    than that, or there are not so many passes.
    """
    recall, precision = quality.recall, quality.precision
    if recall.lower is None or recall.upper is None or not precision.point:
        return None
    if not 0 < recall.lower < recall.upper < 1:
        return None
    variance = ((_logit(recall.upper) - _logit(recall.lower)) / (2 * _NORMAL)) ** 2
    of_flags = min(1 / (precision.point * max(quality.answered_flags, 1)), variance)
    if of_flags >= variance / 4:
        return None
    times = (variance - of_flags) / (variance / 4 - of_flags)
    return (times - 1) * quality.audits if times * quality.audits <= quality.passes else None


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
