"""A candidate against the stored cosines of a period: no image is fetched, no model loaded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from moderation.errors import InputRefused
from moderation.quality.shares import Estimate
from moderation.store import history
from moderation.store.history import Group, Period
from moderation.types import Outcome
from thresholds.artifact import Artifact
from thresholds.estimates import CELLS, Cell, in_cell, precision_and_recall

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rates:
    """Of either what was said at the time or what the candidate says."""

    flagged: int
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True)
class Backtest:
    """Who would change, and what that costs and brings.

    `counts`, `decided` and `mismatches` are by what was said and what the candidate says:
    scored verdicts, those with a decision, and decided mismatches. `days` is how long
    verdicts came in, one at least: from less nobody can tell what a day brings.
    """

    period: Period
    days: float
    unscorable: int
    other_models: Mapping[str, int]
    counts: Mapping[Cell, int]
    decided: Mapping[Cell, int]
    mismatches: Mapping[Cell, int]
    before: Rates
    after: Rates

    @property
    def verdicts(self) -> int:
        """Those of the candidate's model, unscorable ones too."""
        return sum(self.counts.values()) + self.unscorable

    @property
    def newly_flagged(self) -> int:
        """Passed then, flagged by the candidate."""
        return self.counts["pass", "flag"]

    @property
    def newly_passed(self) -> int:
        """Flagged then, passed by the candidate."""
        return self.counts["flag", "pass"]

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "since": self.period.since.isoformat(),
            "until": self.period.until.isoformat(),
            "policy": self.period.policy,
            "days": self.days,
            "verdicts": self.verdicts,
            "unscorable": self.unscorable,
            "other_models": dict(self.other_models),
            "newly_flagged": self.newly_flagged,
            "newly_passed": self.newly_passed,
            "changes": {
                f"{before}_to_{after}": {
                    "verdicts": self.counts[before, after],
                    "share": self.counts[before, after] / self.verdicts,
                    "decided": self.decided[before, after],
                    "mismatches": self.mismatches[before, after],
                }
                for before, after in CELLS
            },
            "flag_rate": {
                "before": self.before.flagged / self.verdicts,
                "after": self.after.flagged / self.verdicts,
            },
            "extra_reviews_per_day": (self.newly_flagged - self.newly_passed) / self.days,
            "decisions": sum(self.decided.values()),
            "precision": self.after.precision.to_document(),
            "recall": self.after.recall.to_document(),
            "precision_before": self.before.precision.to_document(),
            "recall_before": self.before.recall.to_document(),
        }


def backtest(
    connection: Connection,
    candidate: Artifact,
    period: Period,
    *,
    on_total: Callable[[int], None],
    on_read: Callable[[int], None],
) -> Backtest:
    """Judge a period's stored cosines again, with a candidate.

    `on_total` is told how many there are and `on_read` how many more were read. Verdicts of
    another model are counted by model; `InputRefused` where there are no others. Wants one
    transaction of REPEATABLE READ, so that all figures are of the same verdicts.
    """
    found = history.groups(connection, period)
    of_model = [group for group in found if group.model == candidate.fingerprint]
    _check(found, of_model, candidate, period)
    on_total(sum(group.verdicts for group in of_model if group.outcome != Outcome.UNSCORABLE))
    curve, threshold = candidate.curve, candidate.threshold
    counts = dict.fromkeys(CELLS, 0)
    for part in history.scored(connection, period, model=candidate.fingerprint):
        is_flagged = curve.scores(part.cosines) < threshold
        for cell in CELLS:
            counts[cell] += int(in_cell(cell, part.is_flagged, is_flagged).sum())
        on_read(len(part.cosines))
    decided = history.decided(connection, period, model=candidate.fingerprint)
    was_flagged, is_flagged = decided.is_flagged, curve.scores(decided.cosines) < threshold
    cells = {cell: in_cell(cell, was_flagged, is_flagged) for cell in CELLS}
    then = _as_it_was(counts)
    others: Counter[str] = Counter()
    for group in found:
        if group.model != candidate.fingerprint:
            others[group.model] += group.verdicts
    return Backtest(
        period=period,
        days=max(period.until - min(g.first_at for g in of_model), _DAY) / _DAY,
        unscorable=sum(g.verdicts for g in of_model if g.outcome == Outcome.UNSCORABLE),
        other_models=others,
        counts=counts,
        decided={cell: int(rows.sum()) for cell, rows in cells.items()},
        mismatches={cell: int(decided.is_mismatch[rows].sum()) for cell, rows in cells.items()},
        before=Rates(_flagged(then), *precision_and_recall(decided, was_flagged, then)),
        after=Rates(_flagged(counts), *precision_and_recall(decided, is_flagged, counts)),
    )


def _check(
    found: Sequence[Group], of_model: Sequence[Group], candidate: Artifact, period: Period
) -> None:
    """Raise `InputRefused` unless the candidate can judge some of what was found."""
    if not found:
        of_policy = f" of the policy {period.policy}" if period.policy else ""
        raise InputRefused(
            f"there are no verdicts{of_policy} from {period.since:%Y-%m-%d %H:%M} to "
            f"{period.until:%Y-%m-%d %H:%M} UTC; choose another period with --since and --until"
        )
    if not of_model:
        models = ", ".join(sorted({group.model for group in found}))
        raise InputRefused(
            f"the candidate was made for {candidate.made_for}, but all "
            f"verdicts of the period are by other models ({models}), whose cosines mean "
            "something else"
        )


def _as_it_was(counts: Mapping[Cell, int]) -> dict[Cell, int]:
    """The counts if the candidate had said what was said at the time."""
    then = dict.fromkeys(CELLS, 0)
    for (before, _), count in counts.items():
        then[before, before] += count
    return then


def _flagged(counts: Mapping[Cell, int]) -> int:
    return counts["pass", "flag"] + counts["flag", "flag"]
