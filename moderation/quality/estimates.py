"""Precision, recall and prevalence of live traffic, of which only some has an answer. Pure.

What was flagged goes to review for certain, of what passed only the audits, each with its
probability π. Neither is all answered yet: those that are stand for those that wait, within a
stratum of alike ones and each for 1/π of them (Hájek, 1971). Flags are answered by priority, so
that the surest come first; strata of their scores keep that from looking like precision.
"""

from collections.abc import Mapping

import numpy as np

from moderation.curves import Floats
from moderation.quality.figures import Quality, Reviewed, Said, Window
from moderation.quality.shares import Estimate, Found, share, unknown_share

# Below so many found misses an interval tells nothing that a decision could rest on.
FEWEST_MISSES = 5
FEWEST_ANSWERS = 5
# What nobody has answered yet may move a share by a point.
_NEGLIGIBLE = 0.01


def estimate(window: Window) -> Quality:
    """Precision, recall, prevalence and flag rate of a window.

    Intervals are of the process that the window is a part of (see `shares.share`). There is no
    estimate of recall or prevalence below `FEWEST_MISSES` found misses, and none where strata
    nobody has looked at could move it by more than a point.
    """
    flags, unseen_flags = _stand_for(window.flagged, window.flags)
    passes, unseen_passes = _stand_for(window.audited, window.passes)
    hits = Found.among(flags, window.flagged.settled == Said.MISMATCH)
    alarms = Found.among(flags, window.flagged.settled == Said.MATCH)
    misses = Found.among(passes, window.audited.settled == Said.MISMATCH)
    rest = Found.among(passes, window.audited.settled == Said.MATCH)
    found = len(misses.weights)
    all_flags, all_passes = sum(window.flags.values()), sum(window.passes.values())
    settled = [cases.settled[cases.settled > 0] for cases in (window.flagged, window.audited)]
    unsure = int(sum((each == Said.UNSURE).sum() for each in settled))
    return Quality(
        precision=_precision(hits, alarms, all_flags, unseen_flags),
        recall=_unless_few(found, unseen_flags + unseen_passes, hits.total + misses.total)
        or share(hits, misses),
        prevalence=_unless_few(found, unseen_flags + unseen_passes, all_flags + all_passes)
        or share(_together(hits, misses), _together(alarms, rest)),
        flag_rate=share(_counted(all_flags), _counted(all_passes)),
        unsure=share(_counted(unsure), _counted(sum(map(len, settled)) - unsure)),
        flags=all_flags,
        passes=all_passes,
        audits=len(settled[1]),
        answered_flags=len(settled[0]),
        found_misses=found,
    )


def _stand_for(cases: Reviewed, counts: Mapping[int, int]) -> tuple[Floats, int]:
    """For how many each settled case stands, (n,), and how many nobody stands for."""
    weights = np.zeros(len(cases))
    unseen = 0
    for stratum, count in counts.items():
        rows = (cases.strata == stratum) & (cases.settled > 0)
        if rows.sum() < min(FEWEST_ANSWERS, count):
            unseen += count
        elif count:
            weights[rows] = cases.weights[rows] * (count / cases.weights[rows].sum())
    return weights, unseen


def _precision(hits: Found, alarms: Found, flags: int, unseen: int) -> Estimate:
    if not flags:
        return unknown_share("nothing was flagged")
    if unseen > _NEGLIGIBLE * flags:
        return unknown_share(f"of {flags:,} flags, {unseen:,} have too few like them decided")
    return share(hits, alarms)


def _unless_few(found: int, unseen: int, of: float) -> Estimate | None:
    """Why there is no estimate, or None if there is one."""
    if found < FEWEST_MISSES:
        return unknown_share(f"audits have found {found} misses; {FEWEST_MISSES} are needed")
    if unseen > _NEGLIGIBLE * of:
        return unknown_share(f"{unseen:,} submissions have too few like them decided")
    return None


def _together(one: Found, other: Found) -> Found:
    return Found(np.concatenate((one.weights, other.weights)), max(one.heaviest, other.heaviest))


def _counted(count: int) -> Found:
    return Found(np.ones(count), 1.0)
