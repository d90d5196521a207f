"""The pictures of the report, drawn from its figures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from moderation.svg import INK, MATCH, MISMATCH, MUTED, PAPER, canvas, finish
from thresholds.artifact import Interval
from thresholds.report.figures import Figures, Histogram

# On the axis of scores: where there is room, from the most to the least telling.
_SCORES = (0.5, 0.01, 0.99, 0.1, 0.9, 0.001, 0.999, 0.25, 0.75, 0.0001, 0.9999)
# A character's width as a share of the axis.
_CHARACTER = 0.024
_SHARE = PercentFormatter(1, decimals=0, symbol=" %")


def draw_histogram(figures: Figures, label: str) -> str:
    """Both classes over the same scale, the threshold through both."""
    histogram, at = figures.histogram, figures.operating_point
    with canvas("histogram", 330) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        edges = histogram.cosine_edges
        for axes, shares, colour, title, wrong in (
            (upper, histogram.matches, MATCH, f"Matches (n = {figures.labels.matches:,})", True),
            (
                lower,
                histogram.mismatches,
                MISMATCH,
                f"Mismatches (n = {figures.labels.mismatches:,})",
                False,
            ),
        ):
            # What is on the wrong side of the threshold is drawn in full colour.
            alphas = [1 if (end <= at.cosine + 1e-9) == wrong else 0.35 for end in edges[1:]]
            axes.bar(
                edges[:-1],
                shares,
                np.diff(edges),
                align="edge",
                color=[(colour, alpha) for alpha in alphas],
                edgecolor=colour,
                linewidth=0.6,
            )
            axes.set_title(title, loc="left", fontsize=10.5)
            axes.axvline(at.cosine, color=INK, linewidth=1.4)
            axes.yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
            axes.yaxis.set_major_formatter(_SHARE)
            axes.grid(visible=False, axis="x")
            axes.set_xlim(edges[0], edges[-1])
            axes.set_ylim(0, 1.18 * max(*shares, 0.01))
        figure.supylabel("share of the class", fontsize=10.5, color=INK)
        _name_sides(upper, at.cosine, edges[0], edges[-1])
        _score_axis(lower, histogram, at.threshold, at.cosine)
        return finish(figure, label)


def _name_sides(axes: Axes, cosine: float, low: float, high: float) -> None:
    place = (cosine - low) / (high - low)
    for text, room, align, step in (
        ("← flagged", place, "right", -4),
        ("passes →", 1 - place, "left", 4),
    ):
        if room > 0.22:
            axes.annotate(
                text,
                (cosine, 1),
                xycoords=("data", "axes fraction"),
                xytext=(step, -2),
                textcoords="offset points",
                ha=align,
                va="top",
            )


def _score_axis(axes: Axes, histogram: Histogram, threshold: float, cosine: float) -> None:
    """Name cosines by their match scores, and by themselves on a second scale below."""
    low, high = histogram.cosine_edges[0], histogram.cosine_edges[-1]
    ticks = {cosine: f"{threshold:g}"}
    places = [(_cosine_of(histogram, score), f"{score:g}") for score in _SCORES]
    if histogram.score_edges[0] < 0.0005:
        places.append((low, "≈ 0"))
    if histogram.score_edges[-1] > 0.9995:
        places.append((high, "≈ 1"))
    for place, text in places:
        if place is not None and all(
            abs(place - other) > _CHARACTER * (high - low) * (3 + len(text) + len(told)) / 2
            for other, told in ticks.items()
        ):
            ticks[place] = text
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("match score (0 to 1; uneven scale)")
    second = axes.secondary_xaxis(-0.46)
    second.set_xlabel("raw cosine of the model")
    second.xaxis.set_major_locator(MaxNLocator(6))
    second.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.2g}".replace("-", "\N{MINUS SIGN}"))
    )


def _cosine_of(histogram: Histogram, score: float) -> float | None:
    """Where the curve passes a score, between edges of bins; None outside."""
    edges, scores = histogram.cosine_edges, histogram.score_edges
    for x0, x1, y0, y1 in zip(edges, edges[1:], scores, scores[1:], strict=False):
        if y0 < score <= y1:
            return x0 + (x1 - x0) * (score - y0) / (y1 - y0)
    return None


def draw_precision_recall(figures: Figures, label: str) -> str:
    """Precision over recall for all thresholds, the one in use with its intervals."""
    at = figures.operating_point
    points = [point for point in figures.curve if point.precision is not None]
    with canvas("precision-recall", 290) as figure:
        axes = figure.subplots()
        axes.plot(
            [point.recall for point in points],
            [point.precision or 0 for point in points],
            color=MISMATCH,
            label="all thresholds",
        )
        axes.axhline(
            figures.prevalence,
            color=MUTED,
            linewidth=1.2,
            linestyle=(0, (4, 3)),
            label="flagging at random",
        )
        if at.precision is not None:
            _operating_point(axes, at.threshold, at.recall, at.precision)
        _shares(axes)
        axes.set_xlabel("recall: mismatches that are flagged")
        axes.set_ylabel("precision: flags that are right")
        figure.legend(loc="outside upper left", handlelength=1.6)
        return finish(figure, label)


def draw_reliability(figures: Figures, label: str) -> str:
    """Share of true matches over the score that was said, and where scores lie."""
    groups = figures.reliability.groups
    with canvas("reliability", 340) as figure:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        axes.plot(
            [0, 1],
            [0, 1],
            color=MUTED,
            linewidth=1.2,
            linestyle=(0, (4, 3)),
            label="perfectly reliable",
        )
        axes.errorbar(
            [group.score for group in groups],
            [group.matches.point for group in groups],
            yerr=[
                [group.matches.point - group.matches.lower for group in groups],
                [group.matches.upper - group.matches.point for group in groups],
            ],
            fmt="o",
            color=INK,
            markersize=6,
            markeredgecolor=PAPER,
            elinewidth=1.6,
            capsize=3,
            label="ten groups of pairs, with 95 % intervals",
            zorder=5,
        )
        _shares(axes)
        axes.set_ylabel("truly matching")
        below.bar(
            [(bar + 0.5) / len(figures.score_counts) for bar in range(len(figures.score_counts))],
            figures.score_counts,
            width=1 / len(figures.score_counts),
            facecolor=MUTED,
            edgecolor=PAPER,
            linewidth=0.6,
        )
        below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True, min_n_ticks=2))
        below.grid(visible=False, axis="x")
        below.set_ylabel("pairs")
        below.set_xlabel("match score that was said")
        figure.legend(loc="outside upper left", handlelength=1.6)
        return finish(figure, label)


def draw_cost(figures: Figures, label: str) -> str:
    """Reviews over recall for all thresholds, those in vain apart from those that find."""
    at, points = figures.operating_point, figures.curve
    recalls = [point.recall for point in points]
    found = [figures.posts * figures.prevalence * recall for recall in recalls]
    reviews = [point.reviews for point in points]
    with canvas("cost", 310) as figure:
        axes = figure.subplots()
        axes.fill_between(
            recalls,
            found,
            reviews,
            facecolor=MATCH,
            alpha=0.35,
            linewidth=0,
            label="reviews of matches, in vain",
        )
        axes.fill_between(
            recalls,
            0,
            found,
            facecolor=MISMATCH,
            alpha=0.6,
            linewidth=0,
            label="reviews of mismatches",
        )
        axes.plot(recalls, reviews, color=INK, linewidth=1.6)
        _operating_point(axes, at.threshold, at.recall, at.reviews)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, min(figures.posts, max(2 * at.reviews.upper, 1.6 * max(found))) * 1.02)
        axes.xaxis.set_major_formatter(_SHARE)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("recall: mismatches that are flagged")
        axes.set_ylabel(
            "reviews per 1,000 posts" if figures.traffic_per_day is None else "reviews a day"
        )
        figure.legend(loc="outside upper left", handlelength=1.6)
        return finish(figure, label)


def _operating_point(axes: Axes, threshold: float, x: Interval, y: Interval) -> None:
    """Where the threshold stands, with both of its intervals."""
    axes.errorbar(
        [x.point],
        [y.point],
        xerr=_whisker(x.point, x.lower, x.upper),
        yerr=_whisker(y.point, y.lower, y.upper),
        fmt="o",
        color=INK,
        markersize=7,
        markeredgecolor=PAPER,
        elinewidth=1.6,
        capsize=3,
        label=f"threshold {threshold:g}, with 95 % intervals",
        zorder=5,
    )


def _whisker(point: float, lower: float, upper: float) -> list[list[float]]:
    return [[point - lower], [upper - point]]


def _shares(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.03)
    axes.xaxis.set_major_formatter(_SHARE)
    axes.yaxis.set_major_formatter(_SHARE)
