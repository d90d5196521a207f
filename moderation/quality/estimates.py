"""Precision, recall and prevalence of live traffic, of which only some has an answer. Pure.

What was flagged goes to review for certain, of what passed only the audits, each with its
probability π. Neither is all answered yet: `weighting` says which stand for those that wait.
Flags are answered by priority, so that the surest come first; strata of their scores keep that
from looking like precision.
"""

from moderation.quality.figures import Quality, Reviewed, Said, Window
from moderation.quality.shares import Estimate, Found, Together, part, share, unknown_share
from moderation.quality.weighting import Weighted, weigh

# Below so many found misses an interval tells nothing that a decision could rest on.
FEWEST_MISSES = 5
# Begun flags by which a stratum is judged: fewer, and one answer stands for too many; more, and
# strata of other scores are mixed with it.
FEWEST_FLAGS = 10
# Weights of audits differ: a ratio of sums of fewer is not near enough to that of all.
FEWEST_AUDITS = 30
# What nobody stands for may move a share by a point.
_NEGLIGIBLE = 0.01
# Neighbours are not that unlike: they may stand for as many.
_FEW_UNREACHED = 0.1


def estimate(window: Window) -> Quality:
    """Precision, recall, prevalence and flag rate of a window.

    Intervals are of the process that the window is a part of (see `shares.share`), from one
    window to the next as well as from one audit sample to another. There is no estimate of
    recall or prevalence below `FEWEST_MISSES` found misses, and none where cases that nobody
    stands for could move it by more than a point, or where one in ten is judged by its neighbours.
    """
    flags = weigh(window.flagged, window.flags, fewest=FEWEST_FLAGS)
    passes = weigh(window.audited, window.passes, fewest=FEWEST_AUDITS)
    hits = _found(window.flagged, flags, Said.MISMATCH)
    alarms = _found(window.flagged, flags, Said.MATCH)
    misses = _found(window.audited, passes, Said.MISMATCH)
    rest = _found(window.audited, passes, Said.MATCH)
    mismatches = Together(hits, misses)
    all_flags, all_passes = sum(window.flags.values()), sum(window.passes.values())
    answered_flags, audits = _settled(window.flagged), _settled(window.audited)
    unsure = _settled(window.flagged, Said.UNSURE) + _settled(window.audited, Said.UNSURE)
    unknown = (
        _too_few(misses)
        or _unlike(flags, mismatches.total, "flags")
        or _unlike(passes, mismatches.total, "passes")
        or _unreached(flags, all_flags, "flags")
        or _unreached(passes, all_passes, "passes")
    )
    return Quality(
        precision=_precision(hits, alarms, all_flags, flags),
        recall=unknown or share(hits, misses),
        prevalence=unknown or part(mismatches, mismatches.total + alarms.total + rest.total),
        flag_rate=share(Found.counted(all_flags), Found.counted(all_passes))
        if all_flags + all_passes
        else unknown_share("nothing that came in has a score"),
        unsure=share(Found.counted(unsure), Found.counted(answered_flags + audits - unsure)),
        flags=all_flags,
        passes=all_passes,
        audits=audits,
        answered_flags=answered_flags,
        found_misses=misses.found,
    )


def _found(cases: Reviewed, weighted: Weighted, said: Said) -> Found:
    return Found.among(weighted.weights, cases.settled == said, cases.cases, weighted.scatter)


def _settled(cases: Reviewed, said: Said | None = None) -> int:
    rows = cases.settled == said if said is not None else cases.settled > 0
    return int(cases.cases[rows].sum())


def _precision(hits: Found, alarms: Found, count: int, flags: Weighted) -> Estimate:
    if not count:
        return unknown_share("nothing was flagged")
    return (
        _unlike(flags, count, "flags") or _unreached(flags, count, "flags") or share(hits, alarms)
    )


def _too_few(misses: Found) -> Estimate | None:
    if misses.found >= FEWEST_MISSES:
        return None
    found = f"{misses.found} miss{'' if misses.found == 1 else 'es'}"
    return unknown_share(f"audits have found {found}; {FEWEST_MISSES} are needed")


def _unlike(weighted: Weighted, of: float, name: str) -> Estimate | None:
    """Why a share of so many is unknown: too many have none like them that is settled."""
    if weighted.unseen > _NEGLIGIBLE * of:
        return unknown_share(f"nobody has decided on any of {weighted.unseen:,.0f} {name}")
    if weighted.waiting > _NEGLIGIBLE * of:
        return unknown_share(
            f"answers that stand for {weighted.waiting:,.0f} {name} wait for somebody else's, "
            "and none that began like them is settled"
        )
    return None


def _unreached(weighted: Weighted, of: int, name: str) -> Estimate | None:
    """Why a share of so many is unknown: too many are judged by others than their like."""
    if weighted.unreached <= _FEW_UNREACHED * of:
        return None
    return unknown_share(
        f"hardly anything like about {weighted.unreached:,.0f} of {of:,} {name} is decided on: "
        "the cases that wait need answers"
    )
