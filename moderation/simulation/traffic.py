"""The simulated world: what is posted, how it scores, and what the truth about it is."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from moderation.curves import Floats, Platt
from moderation.store.history import Bools
from moderation.types import Calibration

# Logits of match scores are normal, so that at a threshold of 0.35 89.5 % of mismatches and 2.1 %
# of matches are flagged. Odds that follow from a score are off by a factor of two: no calibration
# is perfect, and nothing that is estimated may rest on one that is.
_MISMATCH_LOGIT = -4.74
_MATCH_LOGIT = 6.07
_LOGIT_SPREAD = 3.29
# From cosines of about 0.09 for mismatches and 0.33 for matches.
_CURVE = Platt(a=45.0, b=-9.0)

_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class World:
    """A stream of posts that never changes: so many a day, mismatches by chance."""

    posts_per_day: int
    prevalence: float
    threshold: float

    @property
    def recall(self) -> float:
        """The share of mismatches that score below the threshold."""
        return self._below(_MISMATCH_LOGIT)

    @property
    def false_alarm_rate(self) -> float:
        """The share of matches that score below the threshold."""
        return self._below(_MATCH_LOGIT)

    @property
    def flag_rate(self) -> float:
        """The share of posts that score below the threshold."""
        alarms = (1 - self.prevalence) * self.false_alarm_rate
        return self.prevalence * self.recall + alarms

    @property
    def precision(self) -> float:
        """The share of mismatches among what scores below the threshold."""
        return self.prevalence * self.recall / self.flag_rate

    @property
    def calibration(self) -> Calibration:
        """What verdicts on this world's cosines are made by."""
        return Calibration("c-simulated000", "simulated", _CURVE, self.threshold)

    def _below(self, logit: float) -> float:
        """The share of scores below the threshold where logits have this mean."""
        border = math.log(self.threshold / (1 - self.threshold))
        return 0.5 * math.erfc((logit - border) / (_LOGIT_SPREAD * math.sqrt(2)))


@dataclass(frozen=True, slots=True)
class Posts:
    """The posts of a day in the order of time, (n,) each."""

    ids: list[UUID]
    at: list[datetime]
    cosines: Floats
    is_mismatch: Bools

    def __len__(self) -> int:
        return len(self.ids)


def posts_of_day(world: World, start: datetime, rng: np.random.Generator) -> Posts:
    """The posts that come in the 24 hours from `start` on; how many is a Poisson number."""
    n = int(rng.poisson(world.posts_per_day))
    is_mismatch = rng.random(n) < world.prevalence
    logits = rng.normal(np.where(is_mismatch, _MISMATCH_LOGIT, _MATCH_LOGIT), _LOGIT_SPREAD)
    after_ms = np.sort(rng.integers(0, _DAY_MS, n))
    at = [start + timedelta(milliseconds=int(each)) for each in after_ms]
    return Posts(ids_of(at, rng), at, (logits - _CURVE.b) / _CURVE.a, is_mismatch)


def ids_of(at: list[datetime], rng: np.random.Generator) -> list[UUID]:
    """UUIDv7 (RFC 9562) of these times; their random part is the generator's."""
    octets: NDArray[np.uint8] = rng.integers(0, 256, (len(at), 16), dtype=np.uint8)
    octets[:, 6] = 0x70 | (octets[:, 6] & 0x0F)
    octets[:, 8] = 0x80 | (octets[:, 8] & 0x3F)
    rest = octets[:, 6:].tobytes()
    return [
        UUID(bytes=_milliseconds(moment).to_bytes(6) + rest[10 * i : 10 * (i + 1)])
        for i, moment in enumerate(at)
    ]


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
