"""What a simulated year shows, for people: a table, and what it means."""

from collections.abc import Iterator

from rich.table import Table

from moderation.quality.figures import WINDOWS
from moderation.simulation.report import (
    FEWEST_WINDOWS,
    HIGHEST_COVERAGE,
    LOWEST_COVERAGE,
    Report,
    Row,
)

_SHOWN = ("precision", "recall", "prevalence")


def table(report: Report) -> Table:
    """A line for each figure and length of window; shares in percent, biases in points."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", no_wrap=True)
    for name in ("window", "known", "true", "ours", "bias", "± about", "held", "naive", "bias"):
        shown.add_column(name, justify="right", no_wrap=True)
    for figure in _SHOWN:
        for days in WINDOWS:
            row = report.row(figure, days)
            is_first = days == WINDOWS[0]
            shown.add_row(
                figure if is_first else "",
                f"{days} d",
                f"{row.windows}",
                _percent(row.truth) if is_first else "",
                _percent(row.estimate),
                _points(row.bias),
                "" if row.width is None else f"{50 * row.width:.1f}",
                _percent(row.coverage),
                _percent(row.naive),
                _points(row.naive_bias),
            )
    return shown


def sentences(report: Report) -> Iterator[str]:
    """What the table means."""
    for name in ("precision", "recall"):
        yield _proof(report.row(name))
    recall, prevalence = (report.row(name, 1) for name in ("recall", "prevalence"))
    if recall.naive_bias is not None and prevalence.naive_bias is not None:
        yield (
            "The naive figures take decided posts as they are, as if these had come to review by "
            f"chance alone: recall then lies {_distance(recall.naive_bias)}, prevalence "
            f"{_distance(prevalence.naive_bias)}."
        )
    if recall.one_person is not None:
        yield (
            "Were one person's word enough for a miss, recall would lie "
            f"{_distance(recall.one_person - recall.truth)}, weights and all."
        )
    yield (
        "Windows of a day do not overlap; those of 7 and 28 days do, and say much less than "
        "their number seems to."
    )


def _proof(row: Row) -> str:
    if not row.is_proof:
        return (
            f"Of {row.figure}, {row.windows} windows of a day have an estimate; "
            f"{FEWEST_WINDOWS} are needed to say how often intervals hold the truth."
        )
    wanted = f"{100 * LOWEST_COVERAGE:.0f} to {100 * HIGHEST_COVERAGE:.0f} %"
    told = (
        f"The 95 % interval of a day held the true {row.figure} in {_percent(row.coverage)} of "
        f"{row.windows} windows"
    )
    return f"{told}." if row.holds else f"{told}, which is not the {wanted} that it should."


def _distance(bias: float) -> str:
    return f"{100 * abs(bias):.1f} points too {'high' if bias > 0 else 'low'}"


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    # All of them in fewer letters: a row of such would not fit 80 columns.
    return "100 %" if share == 1 else f"{100 * share:.1f} %"


def _points(bias: float | None) -> str:
    return "–" if bias is None else f"{100 * bias:+.1f}".replace("-", "−")
