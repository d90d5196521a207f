"""What precision and recall mean in the case at hand, for people who know no statistics. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from moderation.quality.estimates import FEWEST_MISSES
from moderation.quality.figures import Quality
from moderation.quality.planning import audits_to_halve
from moderation.quality.shares import Estimate
from moderation.store.ingested import HOUR, hour_of

BUDGET = "CAPTIONGUARD_AUDIT_BUDGET_PER_DAY"

_READING = (
    "“Likely” means: of 20 such ranges 19 hold the true figure (95 % intervals), and nobody knows "
    "which is the one that does not."
)

# Parts that shares are told in: the fewest that tell the ends of an interval apart.
_OF = (100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class AuditEffort:
    """How passes are audited: so many a day are to be, and for so many days some have been."""

    budget_per_day: int
    days: float


def period_says(at: datetime, lag: timedelta, days: int) -> str:
    """Of which posts figures are that were known at `at`, and why not of the newest."""
    ends = hour_of(at - lag - timedelta.resolution) + HOUR
    since = (ends - timedelta(days=days)).astimezone(UTC)
    until = min(ends, at).astimezone(UTC)
    told = f"Posts that came in from {_moment(since)} to {_moment(until)} UTC"
    if not lag:
        return f"{told}."
    return f"{told}: those of the last {_span(lag)} are left out, since answers need time."


def says(found: Quality, days: int, effort: AuditEffort) -> list[str]:
    """What is known of a window of `days`, what that rests on, and what is missing."""
    sentences = [precision_says(found.precision)]
    if found.recall.point is None:
        sentences.append(f"How many mismatches pass is not known. {_missing(found, days, effort)}")
    else:
        sentences.append(recall_says(found.recall))
    if found.prevalence.point is not None:
        sentences.append(prevalence_says(found.prevalence))
    if found.recall.point is not None:
        sentences.append(_rests_on(found))
    return sentences


def reading_of(sentences: Sequence[str]) -> str | None:
    """What “likely” means, where it is said."""
    return _READING if any("(likely" in sentence for sentence in sentences) else None


def says_without_counts(found: Quality) -> list[str]:
    """The same for those who decide, who could tell from counts what they decided on."""
    told = [
        precision_says(found.precision)
        if found.precision.point is not None
        else "How many of the flagged posts are mismatches is not known yet.",
        recall_says(found.recall)
        if found.recall.point is not None
        else "How many mismatches pass is not known yet.",
    ]
    if found.prevalence.point is not None:
        told.append(prevalence_says(found.prevalence))
    return told


def precision_says(precision: Estimate) -> str:
    """Of flagged posts, how many are mismatches."""
    if precision.point is None:
        return f"How many flags are right is not known: {precision.reason}."
    return f"{_share_says(precision, 'posts that are flagged', 'are mismatches')}."


def recall_says(recall: Estimate) -> str:
    """Of mismatches, how many are flagged."""
    told = _share_says(recall, "mismatches that came in", "were flagged")
    return f"{told}; the others were passed."


def prevalence_says(prevalence: Estimate) -> str:
    """Of posts, how many are mismatches."""
    told = _share_says(prevalence, "posts that came in", "are mismatches")
    return f"{told}, flagged or not."


def percent(share: float | None, *, decimals: int = 1) -> str:
    """A share as people write it; all and nothing only where it is that."""
    if share is None:
        return "–"
    text = f"{100 * share:.{decimals}f}"
    least = 10.0**-decimals
    if share > 0 and float(text) == 0:
        return f"<{least:.{decimals}f}"
    if share < 1 and float(text) == 100:
        return f">{100 - least:.{decimals}f}"
    return text


def interval(estimate: Estimate) -> str:
    """A share in per cent with its interval: `84.2 [79.1, 88.0]`, or a dash."""
    if estimate.point is None:
        return "–"
    # Rare things need more digits than common ones.
    decimals = 2 if (estimate.upper or 0) < 0.1 else 1
    point, lower, upper = (
        percent(share, decimals=decimals)
        for share in (estimate.point, estimate.lower, estimate.upper)
    )
    return f"{point} [{lower}, {upper}]"


def about(number: float) -> str:
    """A number as one says it aloud: two digits count, and nothing is less than one."""
    if number < 10:
        return f"{max(1, math.ceil(number))}"
    unit = 10 ** (math.floor(math.log10(number)) - 1)
    return f"{unit * math.ceil(round(number / unit, 6)):,}"


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%B %H:%M}"


def _span(lag: timedelta) -> str:
    hours = lag / HOUR
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:.3g} hours"


def _share_says(estimate: Estimate, of: str, are: str) -> str:
    point, lower, upper = estimate.point or 0.0, estimate.lower or 0.0, estimate.upper or 0.0
    parts = next((n for n in _OF if n * (upper - lower) >= 2 and n * point >= 1), _OF[-1])
    # Outwards, so that the words never say more than the figures.
    low, high = math.floor(parts * lower), math.ceil(parts * upper)
    return (
        f"Of {parts:,} {of}, about {parts * point:,.0f} {are} (likely between {low:,} and {high:,})"
    )


def _rests_on(found: Quality) -> str:
    told = f"This rests on {found.audits:,} audits that found {found.found_misses:,} misses"
    more = audits_to_halve(found)
    if more is None:
        return f"{told}; more of them alone would not halve the interval of recall."
    return f"{told}; about {about(more)} more in the same time would halve the interval of recall."


def _missing(found: Quality, days: int, effort: AuditEffort) -> str:
    """Why recall is not known, and what makes it known."""
    budget, misses = effort.budget_per_day, found.found_misses
    if not found.audits and not budget:
        return f"Nobody looks at what passes, since {BUDGET} is 0."
    if misses >= FEWEST_MISSES:
        return f"{_sentence(found.recall.reason)} More answers make it known."
    elapsed = min(effort.days, days)
    if not found.audits and elapsed <= 0:
        return "What came in then was not audited yet: audits began later."
    if not found.audits:
        return "No audit of that time is answered; they wait at the desk, among the blind cases."
    told = f"Audits have found {_counted(misses)}; {FEWEST_MISSES} are needed."
    if not budget:
        return f"{told} There will be none, since {BUDGET} is 0."
    sooner = f"answers to audits that wait, or a larger {BUDGET} (now {budget:,}), make it sooner."
    if not misses or elapsed <= 0:
        return f"{told} {sooner[:1].upper()}{sooner[1:]}"
    wait = elapsed * FEWEST_MISSES / misses - elapsed
    if elapsed + wait <= days:
        more = about(wait)
        unit = "day" if more == "1" else "days"
        return f"{told} At the present rate that takes about {more} {unit} more; {sooner}"
    # Twice as many as are needed: with just enough expected, half of the time there are too few.
    enough = budget * 2 * FEWEST_MISSES / (misses * days / elapsed)
    span = "a day" if days == 1 else f"{days} days"
    return (
        f"{told} At the present rate {span} will not find so many; {BUDGET} = {about(enough)} "
        f"(now {budget:,}) would, if its audits are answered."
    )


def _counted(misses: int) -> str:
    if not misses:
        return "no miss"
    return "1 miss" if misses == 1 else f"{misses} misses"


def _sentence(reason: str | None) -> str:
    text = reason or "too little is decided"
    return f"{text[:1].upper()}{text[1:]}."
