"""The pictures of precision and recall, drawn from what was kept."""

import math
from collections.abc import Callable, Sequence
from datetime import date

from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator, PercentFormatter

from moderation.quality.figures import Quality
from moderation.quality.shares import Estimate
from moderation.svg import INK, MATCH, MISMATCH, MUTED, PAPER, canvas, finish

NAMES = ("precision", "recall")
_COLOURS = {"precision": MATCH, "recall": MISMATCH}
_ROW = 27


def draw_windows(windows: Sequence[tuple[int, Quality]], label: str) -> str:
    """A row for each figure and window: a dot at the estimate, a line as long as its interval."""
    rows = [
        (f"{name.capitalize()}, {'1 day' if days == 1 else f'{days} days'}", name, quality)
        for name in NAMES
        for days, quality in windows
    ]
    with canvas("quality-windows", 42 + _ROW * len(rows)) as figure:
        axes = figure.subplots()
        for at, (_, name, quality) in enumerate(rows):
            _whisker(axes, at, getattr(quality, name), _COLOURS[name])
        axes.set_yticks(range(len(rows)), [row for row, _, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1.01)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MultipleLocator(0.25))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        return finish(figure, label)


def draw_days(name: str, days: Sequence[tuple[date, Quality]], label: str) -> str:
    """A dot for each day that knows a figure, and a ribbon as wide as its interval."""
    of: Callable[[Quality], Estimate] = lambda quality: getattr(quality, name)  # noqa: E731
    last = days[-1][0]
    with canvas(f"quality-{name}", 205) as figure:
        axes = figure.subplots()
        for run in _runs([(day, of(quality)) for day, quality in days]):
            _ribbon(axes, last, run, _COLOURS[name])
        lowest = min(of(q).lower or 0 for _, q in days if of(q).point is not None)
        axes.set_ylim(max(0.0, math.floor(10 * lowest - 0.5) / 10), 1.005)
        span = (last - days[0][0]).days
        _dates(axes, last, span)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        return finish(figure, label)


def _ribbon(axes: Axes, last: date, run: Sequence[tuple[date, Estimate]], colour: str) -> None:
    at = [(day - last).days for day, _ in run]
    lower, upper, points = (
        [getattr(estimate, end) or 0.0 for _, estimate in run]
        for end in ("lower", "upper", "point")
    )
    if len(run) > 1:
        axes.fill_between(at, lower, upper, color=colour, alpha=0.22, linewidth=0)
    else:
        # A ribbon of one day has no width.
        axes.plot(at * 2, lower + upper, color=colour, alpha=0.22, linewidth=3.4)
    axes.plot(
        at, points, color=colour, linewidth=1.2, marker="o", markersize=3.4,
        markeredgecolor=PAPER, markeredgewidth=0.4,
    )  # fmt: skip


def _whisker(axes: Axes, at: int, estimate: Estimate, colour: str) -> None:
    if estimate.point is None:
        behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
        axes.annotate("not known yet", (0.02, at), va="center", color=MUTED, bbox=behind)
        return
    axes.plot([estimate.lower or 0, estimate.upper or 0], [at, at], color=colour, linewidth=2.4)
    axes.plot(
        [estimate.point], [at], color=colour, marker="o", markersize=7,
        markeredgecolor=PAPER, markeredgewidth=1,
    )  # fmt: skip


def _runs(days: Sequence[tuple[date, Estimate]]) -> list[list[tuple[date, Estimate]]]:
    """Days in a row on which there is an estimate: nothing is drawn across a gap."""
    runs: list[list[tuple[date, Estimate]]] = []
    for day, estimate in days:
        if estimate.point is None:
            continue
        if not runs or (day - runs[-1][-1][0]).days > 1:
            runs.append([])
        runs[-1].append((day, estimate))
    return runs


def _dates(axes: Axes, last: date, span: int) -> None:
    step = 7 if span < 30 else 21
    ticks = range(0, -max(span, 6) - 1, -step)
    axes.set_xticks(list(ticks), [_day(last, at) for at in ticks], color=INK)
    axes.set_xlim(-max(span, 6) - 0.7, 0.7)
    axes.grid(visible=False, axis="x")


def _day(last: date, ago: int) -> str:
    day = date.fromordinal(last.toordinal() + ago)
    return f"{day.day} {day:%b}"
