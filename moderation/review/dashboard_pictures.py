"""The dashboard's pictures, drawn from its figures."""

from collections.abc import Sequence
from datetime import date

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from moderation.review.api_dashboard import DashboardOut
from moderation.store.decisions import Answer
from moderation.svg import (
    ESCALATE,
    INK,
    MATCH,
    MISMATCH,
    MUTED,
    PAPER,
    UNSURE,
    canvas,
    finish,
)

_COLOURS = {
    Answer.MISMATCH: MISMATCH,
    Answer.MATCH: MATCH,
    Answer.UNSURE: UNSURE,
    Answer.ESCALATE: ESCALATE,
}
_HEIGHT = 225


def draw_decisions(found: DashboardOut, label: str) -> str:
    """Decisions a day, stacked by answer."""
    with canvas("decisions", _HEIGHT) as figure:
        axes = figure.subplots()
        floor = [0] * len(found.days)
        for answer, colour in _COLOURS.items():
            counts = [day.decisions[answer] for day in found.days]
            axes.bar(
                range(len(counts)),
                counts,
                0.8,
                bottom=floor,
                facecolor=colour,
                edgecolor=PAPER,
                linewidth=0.5,
                label=answer.value,
            )
            floor = [low + count for low, count in zip(floor, counts, strict=True)]
        _days(axes, [day.day for day in found.days])
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(0, max([1, *floor]) * 1.06)
        figure.legend(loc="outside upper left", ncols=4, handlelength=0.9, columnspacing=1.1)
        return finish(figure, label)


def draw_flag_rate(found: DashboardOut, label: str) -> str:
    """The share flagged of each day with its interval, publications as numbered lines."""
    rates = [day.verdicts.flag_rate for day in found.days]
    known = [at for at, rate in enumerate(rates) if rate.point is not None]
    with canvas("flag-rate", _HEIGHT) as figure:
        axes = figure.subplots()
        axes.errorbar(
            known,
            [rates[at].point or 0 for at in known],
            yerr=[
                [(rates[at].point or 0) - (rates[at].lower or 0) for at in known],
                [(rates[at].upper or 0) - (rates[at].point or 0) for at in known],
            ],
            color=MISMATCH,
            ecolor=MUTED,
            elinewidth=1.3,
            linewidth=1.2,
            marker="o",
            markersize=4,
            markeredgecolor=PAPER,
            markeredgewidth=0.6,
        )
        highest = max((rates[at].upper or 0 for at in known), default=0.01)
        axes.set_ylim(0, max(highest, 0.002) * 1.25)
        _days(axes, [day.day for day in found.days])
        _mark_publications(axes, found)
        axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
        axes.yaxis.set_major_formatter(
            PercentFormatter(1, decimals=0 if highest > 0.04 else 1, symbol=" %")
        )
        return finish(figure, label)


def draw_handling(found: DashboardOut, label: str) -> str:
    """The median time that a decision took, a day."""
    known = [at for at, day in enumerate(found.days) if day.handling_s is not None]
    with canvas("handling", _HEIGHT) as figure:
        axes = figure.subplots()
        times_s = [found.days[at].handling_s or 0 for at in known]
        axes.plot(
            known,
            times_s,
            color=INK,
            linewidth=1.2,
            marker="o",
            markersize=4,
            markeredgecolor=PAPER,
            markeredgewidth=0.6,
        )
        _days(axes, [day.day for day in found.days])
        axes.set_ylim(0, max([1.0, *times_s]) * 1.15)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f} s"))
        return finish(figure, label)


def _mark_publications(axes: Axes, found: DashboardOut) -> None:
    """A line where something was published, with its number in the list below the picture."""
    first = found.days[0].day
    clusters: list[tuple[list[int], list[int]]] = []
    for number, publication in enumerate(found.publications, 1):
        day = (publication.at.date() - first).days
        # Closer together, their numbers would lie over each other.
        if not clusters or day - clusters[-1][0][-1] > 2:
            clusters.append(([], []))
        clusters[-1][0].append(day)
        clusters[-1][1].append(number)
    for days, numbers in clusters:
        for day in set(days):
            axes.axvline(day, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(
            f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}",
            ((days[0] + days[-1]) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )


def _days(axes: Axes, days: Sequence[date]) -> None:
    # Counted from today, whose place at the right is what people look for.
    ticks = range(len(days) - 1, -1, -7)
    axes.set_xticks(list(ticks), [f"{days[at].day} {days[at]:%b}" for at in ticks])
    axes.set_xlim(-0.7, len(days) - 0.3)
    axes.grid(visible=False, axis="x")
