"""Traffic with a known truth and what people say of it, counted in 40 bins of match score."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from moderation.curves import Floats
from moderation.quality.figures import Reviewed, Said, Window
from moderation.quality.sampling import plan_audits
from moderation.store.history import Ints

_EDGES = np.linspace(0, 1, 41)
# Below a match score of 0.35.
_FLAGGED = 14
_PASSED = len(_EDGES) - 1 - _FLAGGED

Row = tuple[Ints, Floats, int, int, int, Ints]


@dataclass(frozen=True)
class World:
    """A process of which windows of about `n` submissions are drawn.

    Scores are calibrated: log odds of the two kinds are normal and lie `separation` of their
    standard deviations apart; `blind` of the mismatches score like matches. About `audits` are
    drawn. Of the flags `decided` are, by score unless at `random`, some of them by age unless
    `strict`. Of the audits `begun` have a first answer; of those wrong by it `confirmed` have a
    second, and of those on which the two differ `led` a lead's. Moderators call a match one with
    a probability of `specificity`; leads are always right.
    """

    separation: float = 3.0
    blind: float = 0.0
    prevalence: float = 0.05
    n: int = 30_000
    audits: int = 3_000
    uniform: bool = False
    decided: float = 1.0
    random: bool = False
    strict: bool = False
    begun: float = 1.0
    confirmed: float = 1.0
    led: float = 1.0
    specificity: float = 1.0

    @cached_property
    def expected(self) -> tuple[Floats, Floats]:
        """How many mismatches and matches a window has of each score, (40,) both."""
        with np.errstate(divide="ignore"):
            edges = logit(_EDGES)
        middle = self.separation**2 / 2
        matches = np.diff(norm.cdf(edges, middle, self.separation))
        mismatches = np.diff(norm.cdf(edges, -middle, self.separation))
        mixed = (1 - self.blind) * mismatches + self.blind * matches
        return self.n * self.prevalence * mixed, self.n * (1 - self.prevalence) * matches

    @cached_property
    def truth(self) -> dict[str, float]:
        """The process's own figures."""
        mismatches, matches = self.expected
        hits, alarms = mismatches[:_FLAGGED].sum(), matches[:_FLAGGED].sum()
        return {
            "precision": hits / (hits + alarms),
            "recall": hits / mismatches.sum(),
            "prevalence": mismatches.sum() / (mismatches + matches).sum(),
            "flag_rate": (hits + alarms) / (mismatches + matches).sum(),
        }

    @cached_property
    def inclusions(self) -> Floats:
        """With which probability passes of each score are audited, (26,)."""
        mismatches, matches = self.expected
        passes = (mismatches + matches)[_FLAGGED:]
        if self.uniform:
            return np.full(_PASSED, self.audits / passes.sum())
        odds = (1 / _EDGES[1:] - 1)[_FLAGGED:] * self.prevalence / (1 - self.prevalence)
        posteriors = odds / (1 + odds)
        sample = np.repeat(posteriors, np.rint(4000 * passes / passes.sum()).astype(int))
        plan = plan_audits(self.audits, float(passes.sum()), sample)
        return plan.inclusions(posteriors)

    def window(self, rng: np.random.Generator) -> Window:
        """What happened in one window, and what is known of it."""
        mismatches, matches = (rng.poisson(each) for each in self.expected)
        flags = (mismatches + matches)[:_FLAGGED]
        passes = int((mismatches + matches)[_FLAGGED:].sum())
        return Window(
            flags=dict(enumerate(flags.tolist())),
            passes={0: passes},
            flagged=self._flagged(rng, mismatches[:_FLAGGED], matches[:_FLAGGED]),
            audited=self._audited(rng, mismatches[_FLAGGED:], matches[_FLAGGED:]),
        )

    def _flagged(self, rng: np.random.Generator, mismatches: Ints, matches: Ints) -> Reviewed:
        shares = self._decided(mismatches + matches)
        bins, ones = np.arange(_FLAGGED), np.ones(_FLAGGED)
        rows: list[Row] = [
            (bins, ones, said, Said.NOTHING, said, rng.binomial(cases, shares))
            for said, cases in ((Said.MISMATCH, mismatches), (Said.MATCH, matches))
        ]
        return reviewed(rows)

    def _decided(self, flags: Ints) -> Floats:
        """Which share of the flags of each score is decided on."""
        if self.random or self.decided == 1:
            return np.full(_FLAGGED, self.decided)
        wanted = self.decided * flags.sum()
        first = wanted * (1.0 if self.strict else 0.7)
        before = np.cumsum(flags) - flags
        shares = np.clip((first - before) / np.maximum(flags, 1), 0, 1)
        decided: Floats = shares + (1 - shares) * (wanted - first) / (flags.sum() - first)
        return decided

    def _audited(self, rng: np.random.Generator, mismatches: Ints, matches: Ints) -> Reviewed:
        bins, weights = np.zeros(_PASSED, np.int64), 1 / self.inclusions
        rows: list[Row] = []

        def add(first: Said, second: Said, settled: Said, cases: Ints) -> None:
            rows.append((bins, weights, first, second, settled, cases))

        for truth, cases in ((Said.MISMATCH, mismatches), (Said.MATCH, matches)):
            accused = 1.0 if truth == Said.MISMATCH else 1 - self.specificity
            begun = rng.binomial(cases, self.inclusions * self.begun)
            first = rng.binomial(begun, accused)
            second = rng.binomial(first, self.confirmed)
            both = rng.binomial(second, accused)
            led = rng.binomial(second - both, self.led)
            add(Said.MATCH, Said.NOTHING, Said.MATCH, begun - first)
            add(Said.MISMATCH, Said.NOTHING, Said.NOTHING, first - second)
            add(Said.MISMATCH, Said.MISMATCH, Said.MISMATCH, both)
            add(Said.MISMATCH, Said.MATCH, truth, led)
            add(Said.MISMATCH, Said.MATCH, Said.NOTHING, second - both - led)
        return reviewed(rows)


def reviewed(rows: list[Row]) -> Reviewed:
    """Cases of so many of each stratum, (k,) of each row; without rows that stand for none."""
    wide = [np.broadcast_arrays(*row) for row in rows]
    strata, weights, first, second, settled, cases = (
        np.concatenate(column) for column in zip(*wide, strict=True)
    )
    some = cases > 0
    return Reviewed(
        strata[some], weights[some], first[some], second[some], settled[some], cases[some]
    )
