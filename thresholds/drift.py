"""Whether the cosines of traffic still look like those that a calibration was made from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from moderation.curves import Floats
from moderation.store.history import CELLS, Group, Ints
from moderation.types import Outcome
from thresholds.artifact import Artifact

BINS = 10
MIN_ITEMS = 1000
WARN_PSI = 0.1
PAGE_PSI = 0.25

# Chance alone exceeds three times its mean less than once in a thousand windows (chi-square
# with nine degrees of freedom), so that a reference made of few labels does not cry wolf.
CHANCE_FACTOR = 3.0

_EDGES = np.linspace(-1, 1, CELLS + 1)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2


class Level(StrEnum):
    """What a window asks for."""

    STEADY = "steady"
    WARN = "warn"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a window of traffic is from the reference.

    `prevalence` is the share of mismatches at which the reference comes nearest to the
    window. `psi_by_chance` is the mean of PSI where nothing has drifted. Where there are
    too few items or no reference, all of these are None, and `reason` says why.
    """

    items: int
    psi: float | None = None
    psi_by_chance: float | None = None
    wasserstein: float | None = None
    prevalence: float | None = None
    reason: str | None = None

    @property
    def exceeds(self) -> float | None:
        """PSI as far as chance does not explain it: 0 where it may be chance alone."""
        if self.psi is None or self.psi_by_chance is None:
            return None
        return self.psi if self.psi > CHANCE_FACTOR * self.psi_by_chance else 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of all verdicts of a window, None below 1,000, and the models that made them."""

    verdicts: int
    flag_rate: float | None
    unscorable_rate: float | None
    caption_truncated_rate: float | None
    models: tuple[str, ...]


def level_of(now: Drift, before: Drift) -> Level | None:
    """Warn at a PSI of 0.1, page at 0.25 in two windows running; None where none is known."""
    if now.exceeds is None:
        return None
    if min(now.exceeds, before.exceeds or 0.0) > PAGE_PSI:
        return Level.PAGE
    return Level.WARN if now.exceeds > WARN_PSI else Level.STEADY


def drift_of(counts: Ints, artifact: Artifact, *, prevalence: float | None = None) -> Drift:
    """Compare a window's cosines, counted in `CELLS` cells, with a calibration's reference.

    The reference has both classes by themselves. Traffic is mostly matches, and how mostly
    changes from day to day without making one score wrong, while a calibration has about as
    many of each: so the classes are mixed at the prevalence at which they come nearest to
    the window (maximum likelihood), and what is left is drift: matches or mismatches that
    do not look as they did. Of more mismatches the flag rate tells. A given `prevalence`
    is taken instead, which then counts as drift where it is wrong.
    """
    items = int(counts.sum())
    if items < MIN_ITEMS:
        return Drift(items, reason=f"{items:,} scored verdicts; {MIN_ITEMS:,} are needed")
    if artifact.reference is None:
        return Drift(
            items, reason=f"the calibration {artifact.version} has no reference: make a new one"
        )
    matched = cell_shares(artifact.reference.match_quantiles)
    mismatched = cell_shares(artifact.reference.mismatch_quantiles)
    starts = bin_starts((matched + mismatched) / 2)
    observed = np.add.reduceat(counts, starts)
    classes = [np.add.reduceat(shares, starts) for shares in (matched, mismatched)]
    if prevalence is None:
        prevalence = nearest_prevalence(observed, *classes)
    mixture = (1 - prevalence) * matched + prevalence * mismatched
    # A mixture is as good as an unmixed sample of so many labels.
    labels = 1 / ((1 - prevalence) ** 2 / artifact.matches + prevalence**2 / artifact.mismatches)
    return Drift(
        items,
        psi=psi(observed, (1 - prevalence) * classes[0] + prevalence * classes[1], labels),
        psi_by_chance=psi_by_chance(len(starts), items, labels),
        wasserstein=wasserstein(counts, mixture),
        prevalence=prevalence,
    )


def rates_of(groups: Sequence[Group]) -> Rates:
    """What else is worth a look: rates that jump, and verdicts of several models."""
    verdicts = sum(group.verdicts for group in groups)

    def rate(count: int) -> float | None:
        return count / verdicts if verdicts >= MIN_ITEMS else None

    return Rates(
        verdicts,
        flag_rate=rate(sum(g.verdicts for g in groups if g.outcome == Outcome.FLAG)),
        unscorable_rate=rate(sum(g.verdicts for g in groups if g.outcome == Outcome.UNSCORABLE)),
        caption_truncated_rate=rate(sum(group.truncated for group in groups)),
        models=tuple(sorted({group.model for group in groups})),
    )


def psi(observed: Ints, expected: Floats, labels: float) -> float:
    """Population stability index of counts, (bins,), against expected shares, (bins,).

    Σ (p − q) ln(p / q), with half an item added to each bin of either, as a bin may be empty;
    `labels` is how many labels the shares come from.
    """
    bins = len(observed)
    p = (observed + 0.5) / (observed.sum() + 0.5 * bins)
    q = (labels * expected + 0.5) / (labels + 0.5 * bins)
    return float(((p - q) * np.log(p / q)).sum())


def psi_by_chance(bins: int, items: int, labels: float) -> float:
    """The mean of PSI between two samples of the same: about (B − 1)(1/n + 1/m)."""
    return (bins - 1) * (1 / items + 1 / labels)


def wasserstein(counts: Ints, reference: Floats) -> float:
    """How far cosines must move to become the reference, in its standard deviations.

    Both over `CELLS` cells: counts and shares.
    """
    from scipy.stats import wasserstein_distance

    mean = float(_CENTRES @ reference)
    spread = math.sqrt(float((_CENTRES - mean) ** 2 @ reference))
    return float(wasserstein_distance(_CENTRES, _CENTRES, counts, reference)) / spread


def nearest_prevalence(observed: Ints, matched: Floats, mismatched: Floats) -> float:
    """The share of mismatches at which the mixed classes make the observed counts likeliest."""
    from scipy.optimize import minimize_scalar

    def surprise(prevalence: float) -> float:
        mixed = (1 - prevalence) * matched + prevalence * mismatched
        return -float(observed @ np.log(mixed + _HARDLY))

    # Convex, so the bounded search finds the one minimum.
    return float(minimize_scalar(surprise, bounds=(0, 1), method="bounded").x)


_HARDLY = 1e-9


def cell_shares(quantiles: Sequence[float]) -> Floats:
    """The share of a class in each cell, (CELLS,), from its quantiles at 0, 1/100, … 1."""
    # Values that repeat are a jump, which `interp` wants as a steep rise.
    cosines = np.asarray(quantiles) + 1e-12 * np.arange(len(quantiles))
    below = np.interp(_EDGES, cosines, np.linspace(0, 1, len(quantiles)), left=0.0, right=1.0)
    below[0], below[-1] = 0.0, 1.0
    return np.diff(below)


def bin_starts(shares: Floats) -> Ints:
    """The cells at which bins of about a tenth each begin; a score's deciles as well.

    Of both classes in equal parts, as scores are calibrated: fixed for a calibration,
    whatever its traffic, and as fine among mismatches as among matches.
    """
    inner = np.searchsorted(np.cumsum(shares), np.arange(1, BINS) / BINS) + 1
    starts: Ints = np.unique(np.append(0, inner[inner < CELLS]))
    return starts
