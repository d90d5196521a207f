"""What precision and recall are estimated from, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from moderation.curves import Floats
from moderation.quality.agreement import Agreement
from moderation.quality.shares import Estimate
from moderation.store.history import Ints

# Days of ingestion that figures are given for.
WINDOWS = (1, 7, 28)


class Said(IntEnum):
    """What people said of a case, as arrays hold it; `NOTHING` while it waits."""

    NOTHING = 0
    MISMATCH = 1
    MATCH = 2
    UNSURE = 3
    ESCALATE = 4


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Cases of flags, or of audited passes, in rows of equal ones, (n,) each.

    `strata` says which of them are alike, neighbours by neighbouring numbers; `weights` are 1/π.
    `first` is what the first person said, `second` what the second did, and `settled` what stands:
    a case that a second person is to confirm, or on which two differ, has the one and not yet the
    other. One that is settled without a first answer, as by an appeal, stands for no other. A
    row stands for `cases` of them.
    """

    strata: Ints
    weights: Floats
    first: Ints
    second: Ints
    settled: Ints
    cases: Ints

    def __len__(self) -> int:
        return len(self.strata)


@dataclass(frozen=True, slots=True)
class Window:
    """Scored submissions that came in a period, and what is known of them.

    `flags` and `passes` count all of them, by stratum; `flagged` and `audited` are the cases.
    """

    flags: Mapping[int, int]
    passes: Mapping[int, int]
    flagged: Reviewed
    audited: Reviewed


@dataclass(frozen=True, slots=True)
class Quality:
    """The estimates of a window, each with its 95 % interval or the reason why there is none.

    `flags` and `passes` are what was scored; of the cases `audits` and `answered_flags` have an
    answer, `found_misses` are audited passes that are mismatches, and `unsure` is the share of
    settled cases that nobody could tell.
    """

    precision: Estimate
    recall: Estimate
    prevalence: Estimate
    flag_rate: Estimate
    unsure: Estimate
    flags: int
    passes: int
    audits: int
    answered_flags: int
    found_misses: int

    def to_document(self) -> dict[str, Any]:
        """As tools read it and as it is stored."""
        return {
            "precision": self.precision.to_document(),
            "recall": self.recall.to_document(),
            "prevalence": self.prevalence.to_document(),
            "flag_rate": self.flag_rate.to_document(),
            "unsure": self.unsure.to_document(),
            "flags": self.flags,
            "passes": self.passes,
            "audits": self.audits,
            "answered_flags": self.answered_flags,
            "found_misses": self.found_misses,
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """Of what figures are: so many days, of one policy or calibration or, None, of all."""

    days: int
    policy: str | None = None
    calibration_version: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was known at one moment of what came in until `lag` before it."""

    at: datetime
    lag: timedelta
    of: Mapping[Scope, Quality]
    agreement: Agreement

    def overall(self) -> Sequence[tuple[Scope, Quality]]:
        """Those of all policies and calibrations together, the shortest window first."""
        found = [
            (s, q) for s, q in self.of.items() if (s.policy, s.calibration_version) == (None,) * 2
        ]
        return sorted(found, key=lambda pair: pair[0].days)
