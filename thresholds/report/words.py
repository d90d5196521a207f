"""What the figures say, in words for people who have never seen such pictures."""

import unicodedata
from dataclasses import dataclass

from thresholds.artifact import Interval
from thresholds.report.figures import Figures, Point

# The expected calibration error up to which a calibration is taken for reliable.
_RELIABLE = 0.03
_MAX_KIND_CHARS = 40
_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure to see first: its name, value, interval, and what it means."""

    name: str
    value: str
    interval: str
    meaning: str


def percent(share: float | None) -> str:
    """A share as people write it; decimals only where they tell something apart."""
    if share is None:
        return "—"
    decimals = 1 if 0 < share < 0.0995 or 0.99 <= share < 1 else 0
    text = f"{100 * share:.{decimals}f}".removesuffix(".0")
    # 99.96 % is not all, and 0.04 % is not nothing.
    if share > 0 and float(text) == 0:
        text = "under 0.1"
    elif share < 1 and float(text) == 100:
        text = "over 99.9"
    return f"{text}{_SPACE}%"


def count(number: float) -> str:
    """A count with its thousands apart; a decimal below ten where it is not whole."""
    decimals = 1 if 0.05 <= number < 9.95 else 0
    return f"{number:,.{decimals}f}".removesuffix(".0")


def percents(interval: Interval) -> str:
    """An interval of shares."""
    lower, upper = percent(interval.lower), percent(interval.upper)
    return f"{lower.removesuffix(f'{_SPACE}%')} to {upper}"


def _of(share: float, total: int) -> str:
    """How many of a round number a share is: about 9, none, nearly all."""
    number = share * total
    if share in (0, 1):
        return f"all {total:,}" if share else "none"
    if 0 < number < 0.5:
        return "fewer than 1"
    if total - 0.5 <= number < total:
        return f"more than {total - 1:,}"
    return f"about {number:.0f}"


def score_text(score: float) -> str:
    """A match score or a threshold, to three decimals."""
    if score < 0.0005:
        return "under 0.001"
    return f"{score:.3f}" if score < 0.9995 else "over 0.999"


def prevalence_says(figures: Figures) -> str:
    """The prevalence, and who says that it is so."""
    source = {
        "given": "as given",
        "choice": "as the threshold was chosen for",
        "labels": "as in these labels; nobody said what it is among posts",
    }
    return f"{percent(figures.prevalence)} of posts mismatched, {source[figures.prevalence_source]}"


def posts_unit(figures: Figures) -> str:
    """What reviews are counted of."""
    return "per 1,000 posts" if figures.traffic_per_day is None else "a day"


def at_prevalence(figures: Figures) -> str:
    """The condition that each precision and accuracy holds under."""
    return f"if {percent(figures.prevalence)} of posts are mismatched"


def precision_says(figures: Figures) -> str:
    """The precision as a sentence."""
    precision = figures.operating_point.precision
    if precision is None:
        return "At this threshold nothing at all would be flagged."
    lower, upper = 100 * precision.lower, 100 * precision.upper
    return (
        f"Of 100 flagged posts {_of(precision.point, 100)} ({lower:.0f} to {upper:.0f}) would be "
        f"real mismatches {at_prevalence(figures)}."
    )


def tiles(figures: Figures) -> tuple[Tile, ...]:
    """The four figures that a decision turns on."""
    at = figures.operating_point
    passing = _of(1 - at.recall.point, 100)
    reviews = f"{count(at.reviews.lower)} to {count(at.reviews.upper)}"
    return (
        Tile(
            "Mismatches found (recall)",
            percent(at.recall.point),
            percents(at.recall),
            f"Of 100 posts whose caption does not fit, {_of(at.recall.point, 100)} are flagged "
            f"and {passing} get through.",
        ),
        Tile(
            "Matches flagged by mistake (false-positive rate)",
            percent(at.false_positive_rate.point),
            percents(at.false_positive_rate),
            f"Of 1,000 posts whose caption fits, {_of(at.false_positive_rate.point, 1000)} are "
            "flagged.",
        ),
        Tile(
            f"Flags that are right (precision), {at_prevalence(figures)}",
            percent(at.precision.point if at.precision else None),
            percents(at.precision) if at.precision else "no flags",
            precision_says(figures),
        ),
        Tile(
            f"Reviews {posts_unit(figures)}, {at_prevalence(figures)}",
            count(at.reviews.point),
            reviews,
            "Every flagged post is looked at by a person."
            if figures.traffic_per_day is None
            else f"Of {count(figures.posts)} posts a day, so many are flagged for a person.",
        ),
    )


def is_useless(figures: Figures) -> bool:
    """Whether chance explains that more mismatches than matches are flagged, if they are."""
    return figures.operating_point.recall.lower <= figures.operating_point.false_positive_rate.upper


def histogram_says(figures: Figures) -> str:
    """How well the classes are apart."""
    at, auc = figures.operating_point, figures.auc.point
    apart = next(
        words
        for least, words in (
            (0.99, "The classes hardly overlap"),
            (0.9, "The classes overlap little"),
            (0.75, "The classes overlap clearly"),
            (0.6, "The classes overlap for the most part"),
            (0.0, "The model can hardly tell these classes apart"),
        )
        if auc >= least
    )
    return (
        f"{percent(at.recall.point)} of mismatches and {percent(at.false_positive_rate.point)} of "
        f"matches lie left of the line. {apart}: of a match and a mismatch "
        f"drawn at random, the match scores higher in {100 * auc:.0f} of 100 draws "
        f"(AUC {auc:.3f})."
    )


def precision_recall_says(figures: Figures) -> str:
    """What the operating point means, and what prevalence does to it."""
    at = figures.operating_point
    if at.precision is None:
        return precision_says(figures)
    return (
        f"{precision_says(figures)} Recall stays {percent(at.recall.point)} whatever the share of "
        "mismatches; precision does not, as the table shows: the rarer mismatches are, the more "
        "of the flags are false alarms, whatever the model."
    )


def reliability_says(figures: Figures) -> str:
    """Whether scores may be read as probabilities."""
    reliability = figures.reliability
    error = reliability.expected_calibration_error
    kept = sum(
        group.matches.lower - 1e-9 <= group.score <= group.matches.upper + 1e-9
        for group in reliability.groups
    )
    if error.point <= _RELIABLE:
        verdict = "Scores can be read as they are"
    elif error.lower <= _RELIABLE:
        verdict = "Nothing says that scores are wrong, but only more labels could say how right"
    else:
        verdict = "Scores should not be read as probabilities: calibrate anew with such labels"
    return (
        f"{verdict}. They are off by {100 * error.point:.1f} points on average (expected "
        f"calibration error {error.point:.3f}, {error.lower:.3f} to {error.upper:.3f}), and in "
        f"{kept} of {len(reliability.groups)} groups the whiskers reach the line."
    )


def cost_says(figures: Figures) -> str:
    """What the threshold costs, and what more would."""
    at = figures.operating_point
    found = figures.posts * figures.prevalence * at.recall.point
    told = (
        f"Threshold {at.threshold:g} costs {count(at.reviews.point)} reviews "
        f"{posts_unit(figures)} {at_prevalence(figures)}: {count(found)} find a mismatch, "
        f"{count(at.reviews.point - found)} are in vain."
    )
    better = next((p for p in figures.alternatives if p.recall > at.recall.upper), None)
    if better is None:
        return told
    return (
        f"{told} To find {percent(better.recall)} of mismatches instead of "
        f"{percent(at.recall.point)}, {count(better.reviews)} reviews would be needed."
    )


def kinds_say(figures: Figures) -> str:
    """Which mismatches are found best and worst."""
    found = sorted(
        (kind for kind in figures.kinds if not kind.is_match),
        key=lambda kind: (kind.flagged.point, kind.kind),
    )
    if len(found) < 2:
        return (
            "All mismatches of these labels are of one kind, so that nothing can be said of "
            "others. Labels of several kinds would show what the model is blind to."
        )
    worst, best = found[0], found[-1]
    return (
        f"Found best: {kind_name(best.kind)}, {percent(best.flagged.point)}. Found worst: "
        f"{kind_name(worst.kind)}, {percent(worst.flagged.point)}. The overall recall is that of "
        "this mixture of kinds, and another mixture has another."
    )


def kind_name(kind: str) -> str:
    """A kind as people write it."""
    return shown(kind.replace("_", " "), _MAX_KIND_CHARS) or "kind not told"


def shown(text: str, max_chars: int) -> str:
    """Text of strangers without control characters and halves of characters, cut where long."""
    shown = "".join(
        " " if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text[:max_chars]
    )
    return shown + ("…" if len(text) > max_chars else "")


@dataclass(frozen=True, slots=True)
class Alternative:
    """A row of the table of thresholds: the one in use, or another."""

    is_used: bool
    cells: tuple[str, ...]


def alternatives(figures: Figures) -> tuple[Alternative, ...]:
    """Threshold, recall, matches flagged, precision and reviews: the one in use among others."""
    at = figures.operating_point
    used = Point(
        threshold=at.threshold,
        recall=at.recall.point,
        false_positive_rate=at.false_positive_rate.point,
        precision=at.precision.point if at.precision else None,
        reviews=at.reviews.point,
    )
    return tuple(
        Alternative(
            is_used=point is used,
            cells=(
                score_text(point.threshold) + (" (in use)" if point is used else ""),
                percent(point.recall),
                percent(point.false_positive_rate),
                percent(point.precision),
                count(point.reviews),
            ),
        )
        for point in sorted((*figures.alternatives, used), key=lambda point: point.recall)
    )


def passed_in_all(figures: Figures) -> str:
    """How many mismatches get through."""
    passed, total = figures.mismatches_passed, figures.labels.mismatches
    return f"Of {count(total)} mismatches, {count(passed)} pass."


def flagged_in_all(figures: Figures) -> str:
    """How many matches are flagged."""
    flagged, total = figures.matches_flagged, figures.labels.matches
    return f"Of {count(total)} matches, {count(flagged)} are flagged."
