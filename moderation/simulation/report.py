"""What a simulated year shows: how near estimates came to the truth, and how often they held."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moderation.quality.figures import WINDOWS, Quality
from moderation.quality.shares import Estimate
from moderation.simulation.tallies import ByHand
from moderation.simulation.year import Measured, Setup

# Fewer independent windows leave a share of 95 % unknown by more than three points.
FEWEST_WINDOWS = 300
LOWEST_COVERAGE, HIGHEST_COVERAGE = 0.92, 0.98

# Figures, by name, with where they are found in what was measured.
FIGURES: dict[str, Callable[[Quality], Estimate]] = {
    "precision": lambda quality: quality.precision,
    "recall": lambda quality: quality.recall,
    "prevalence": lambda quality: quality.prevalence,
    "flag_rate": lambda quality: quality.flag_rate,
}
_BY_HAND: dict[str, Callable[[ByHand], float | None]] = {
    "precision": lambda by_hand: by_hand.precision,
    "recall": lambda by_hand: by_hand.recall,
    "prevalence": lambda by_hand: by_hand.prevalence,
    "flag_rate": lambda _: None,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure in all windows of one length that have an estimate of it.

    `coverage` is the share of intervals that held the truth and `width` their mean width;
    `estimate`, `naive` and `one_person` are means. None where there is nothing to say.
    """

    figure: str
    window_days: int
    truth: float
    windows: int
    windows_without: int
    estimate: float | None
    coverage: float | None
    width: float | None
    naive: float | None
    one_person: float | None

    @property
    def bias(self) -> float | None:
        """How much too high the estimates were, on average."""
        return None if self.estimate is None else self.estimate - self.truth

    @property
    def naive_bias(self) -> float | None:
        """How much too high the naive figures were, on average."""
        return None if self.naive is None else self.naive - self.truth

    @property
    def is_proof(self) -> bool:
        """Whether these are enough windows that do not overlap."""
        return self.window_days == 1 and self.windows >= FEWEST_WINDOWS

    @property
    def holds(self) -> bool:
        """Whether the intervals held the truth about as often as they say."""
        return self.coverage is None or LOWEST_COVERAGE <= self.coverage <= HIGHEST_COVERAGE

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "windows": self.windows,
            "windows_without_estimate": self.windows_without,
            "true": self.truth,
            "estimate": self.estimate,
            "bias": self.bias,
            "coverage": self.coverage,
            "width": self.width,
            "naive": self.naive,
            "naive_bias": self.naive_bias,
            "one_person": self.one_person,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, by length of the window and then by figure; and what it took."""

    setup: Setup
    rows: Sequence[Row]
    seconds: float

    def row(self, figure: str, window_days: int = 1) -> Row:
        """The row of a figure."""
        wanted = (figure, window_days)
        return next(row for row in self.rows if (row.figure, row.window_days) == wanted)

    @property
    def holds(self) -> bool:
        """Whether no figure's intervals are shown to hold the truth too rarely, or too often."""
        shown = (self.row("precision"), self.row("recall"))
        return all(row.holds for row in shown if row.is_proof)

    def to_document(self) -> dict[str, Any]:
        """As tools read it; the figures at the top are of windows of a day."""
        shown = {name: self.row(name) for name in ("recall", "precision")}
        world, reviewers = self.setup.world, self.setup.reviewers
        return {
            "windows": min(row.windows for row in shown.values()),
            "true": {name: row.truth for name, row in shown.items()},
            "estimate": {name: row.estimate for name, row in shown.items()},
            "coverage": {name: row.coverage for name, row in shown.items()},
            "bias": {name: row.bias for name, row in shown.items()},
            "naive_bias": {name: row.naive_bias for name, row in shown.items()},
            "by_window": {
                f"{days}d": {name: self.row(name, days).to_document() for name in FIGURES}
                for days in WINDOWS
            },
            "settings": {
                "days": self.setup.days,
                "posts_per_day": world.posts_per_day,
                "prevalence": world.prevalence,
                "threshold": world.threshold,
                "audits_per_day": self.setup.audits_per_day,
                "sensitivity": reviewers.sensitivity,
                "specificity": reviewers.specificity,
                "late": reviewers.late,
                "by_priority": reviewers.by_priority,
                "seed": self.setup.seed,
            },
            "seconds": self.seconds,
        }


def report(setup: Setup, measured: Iterable[Measured], *, seconds: float) -> Report:
    """What was measured, beside the truth."""
    found = list(measured)
    world = setup.world
    truths = {
        "precision": world.precision,
        "recall": world.recall,
        "prevalence": world.prevalence,
        "flag_rate": world.flag_rate,
    }
    rows = [
        _row(name, days, truths[name], [each for each in found if each.window_days == days])
        for days in WINDOWS
        for name in FIGURES
    ]
    return Report(setup, rows, seconds)


def _row(name: str, days: int, truth: float, measured: Sequence[Measured]) -> Row:
    known = [
        (e.point, e.lower, e.upper)
        for e in (FIGURES[name](each.quality) for each in measured)
        if e.point is not None and e.lower is not None and e.upper is not None
    ]
    is_recall = name == "recall"
    return Row(
        figure=name,
        window_days=days,
        truth=truth,
        windows=len(known),
        windows_without=len(measured) - len(known),
        estimate=_mean(point for point, _, _ in known),
        coverage=_mean(lower <= truth <= upper for _, lower, upper in known),
        width=_mean(upper - lower for _, lower, upper in known),
        naive=_mean(_BY_HAND[name](each.by_hand) for each in measured),
        one_person=_mean(each.by_hand.recall_of_one for each in measured) if is_recall else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
