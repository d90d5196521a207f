"""Precision and recall on traffic where only some submissions have a decision."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from moderation.curves import Floats
from moderation.quality.shares import Estimate, Found, share, unknown_share
from moderation.store.history import Bools, Decided

Says = Literal["pass", "flag"]
# What was said at the time, and what a candidate says.
Cell = tuple[Says, Says]

NAMES: Mapping[Cell, str] = {
    ("pass", "flag"): "newly flagged",
    ("flag", "pass"): "newly passed",
    ("flag", "flag"): "still flagged",
    ("pass", "pass"): "still passed",
}
CELLS: tuple[Cell, ...] = tuple(NAMES)

_FEWEST = 5
# What is not known may move a share by a point.
_NEGLIGIBLE = 0.01


def precision_and_recall(
    decided: Decided, is_flagged: Bools, counts: Mapping[Cell, int]
) -> tuple[Estimate, Estimate]:
    """What a candidate's precision and recall would have been, of scored submissions.

    `is_flagged`, (n,), is what the candidate says of what was decided; `counts` are the
    scored verdicts of each cell. Within a cell those decided stand for all of it, each for
    1/π of them (Hájek). A cell with fewer than five decisions is not known: that is borne
    where it could move the share by a point at most, and else there is no estimate. Nor is
    there one of recall below five found misses.
    """
    if not len(decided):
        nobody = unknown_share("nobody has decided on any of them")
        return nobody, nobody
    weights, unknown = _weights(decided, is_flagged, counts)
    mismatch = decided.is_mismatch
    precision = _precision(weights, mismatch, is_flagged, counts, unknown)
    return precision, _recall(weights, mismatch, is_flagged, unknown)


def _precision(
    weights: Floats,
    mismatch: Bools,
    flagged: Bools,
    counts: Mapping[Cell, int],
    unknown: Mapping[Cell, int],
) -> Estimate:
    total = sum(count for (_, now), count in counts.items() if now == "flag")
    if not total:
        return unknown_share("it flags nothing")
    lacking = {cell: count for cell, count in unknown.items() if cell[1] == "flag"}
    if sum(lacking.values()) > _NEGLIGIBLE * total:
        return _too_few(lacking)
    of_flagged = weights[flagged]
    return share(
        Found.among(of_flagged, mismatch[flagged]), Found.among(of_flagged, ~mismatch[flagged])
    )


def _recall(
    weights: Floats, mismatch: Bools, flagged: Bools, unknown: Mapping[Cell, int]
) -> Estimate:
    hits = Found.among(weights[flagged], mismatch[flagged])
    misses = Found.among(weights[~flagged], mismatch[~flagged])
    if len(misses.weights) < _FEWEST:
        return unknown_share(
            f"of the mismatches that it passes, decisions have found {len(misses.weights)}; "
            f"{_FEWEST} are needed, which takes audits of passed submissions"
        )
    if sum(unknown.values()) > _NEGLIGIBLE * (hits.total + misses.total):
        return _too_few(unknown)
    return share(hits, misses)


def _weights(
    decided: Decided, is_flagged: Bools, counts: Mapping[Cell, int]
) -> tuple[Floats, dict[Cell, int]]:
    """What each decided verdict stands for, (n,), and the counts of cells that are not known."""
    weights = np.zeros(len(decided))
    unknown = {}
    for cell, count in counts.items():
        rows = in_cell(cell, decided.is_flagged, is_flagged)
        known = decided.weights[rows]
        if len(known) < min(_FEWEST, count):
            unknown[cell] = count
        elif count:
            weights[rows] = known * (count / known.sum())
    return weights, unknown


def in_cell(cell: Cell, was_flagged: Bools, is_flagged: Bools) -> Bools:
    """Which verdicts, (n,), are in a cell, from what was and what is said of them."""
    before, now = cell
    rows: Bools = (was_flagged == (before == "flag")) & (is_flagged == (now == "flag"))
    return rows


def _too_few(unknown: Mapping[Cell, int]) -> Estimate:
    named = " and ".join(f"the {count:,} {NAMES[cell]}" for cell, count in unknown.items())
    return unknown_share(f"{named} have fewer than {_FEWEST} decisions")
