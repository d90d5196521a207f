"""Drift against independent computations, under no drift, and under several kinds of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moderation.curves import Floats
from moderation.store.history import CELLS, Ints
from tests.integration.traffic import an_artifact
from thresholds.artifact import Artifact
from thresholds.drift import (
    BINS,
    Drift,
    Level,
    bin_starts,
    cell_shares,
    drift_of,
    level_of,
    nearest_prevalence,
    psi,
    psi_by_chance,
    wasserstein,
)

LIVE = an_artifact(labels=20_000)
EVEN = np.full(BINS, 1 / BINS)


def _cells(cosines: Floats) -> Ints:
    """Cosines, counted as the database counts them."""
    counts, _ = np.histogram(cosines, np.linspace(-1, 1, CELLS + 1))
    return counts.astype(np.int64)


def _traffic(
    rng: np.random.Generator,
    n: int = 5000,
    *,
    prevalence: float = 0.05,
    match: float = 0.36,
    mismatch: float = 0.08,
    spread: float = 0.03,
) -> Ints:
    """A window of traffic; by default as the labels of `LIVE` were drawn."""
    is_mismatch = rng.random(n) < prevalence
    return _cells(
        np.where(is_mismatch, rng.normal(mismatch, 0.07, n), rng.normal(match, spread, n))
    )


@given(
    st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(any),
    st.floats(50, 1e6),
    st.randoms(use_true_random=False),
)
def test_psi_is_the_sum_of_its_definition(counts: list[int], labels: float, random: object) -> None:
    """Σ (p − q) ln(p / q), bin by bin, with half an item in each."""
    shares = [random.random() + 0.01 for _ in counts]  # type: ignore[attr-defined]
    expected = [share / sum(shares) for share in shares]
    total = 0.0
    for count, share in zip(counts, expected, strict=True):
        p = (count + 0.5) / (sum(counts) + len(counts) / 2)
        q = (labels * share + 0.5) / (labels + len(counts) / 2)
        total += (p - q) * math.log(p / q)
    assert psi(np.array(counts), np.array(expected), labels) == pytest.approx(total, abs=1e-12)


def test_psi_by_chance() -> None:
    """At n = 200 the 99th percentile is about 0.11, and the mean what the formula says."""
    rng = np.random.default_rng(0)
    known = [psi(drawn, EVEN, 1e12) for drawn in rng.multinomial(200, EVEN, 20_000)]
    assert np.quantile(known, 0.99) == pytest.approx(0.11, abs=0.005)
    assert np.mean(known) == pytest.approx(psi_by_chance(BINS, 200, math.inf), rel=0.05)
    both = [
        psi(window, labels / 400, 400)
        for window, labels in zip(
            rng.multinomial(1000, EVEN, 20_000), rng.multinomial(400, EVEN, 20_000), strict=True
        )
    ]
    assert np.mean(both) == pytest.approx(psi_by_chance(BINS, 1000, 400), rel=0.05)


def test_wasserstein_is_that_of_the_cosines_themselves() -> None:
    """Over the cosines one by one, not counted in cells, SciPy says the same."""
    rng = np.random.default_rng(0)
    window, reference = rng.normal(0.3, 0.05, 3000), rng.normal(0.32, 0.04, 4000)
    expected = stats.wasserstein_distance(window, reference) / reference.std()
    done = wasserstein(_cells(window), _cells(reference) / 4000)
    assert done == pytest.approx(expected, abs=2e-3)


def test_cells_hold_what_quantiles_say() -> None:
    """Shares add up to one, and half of them lie below the median; also where values repeat."""
    at = np.linspace(0, 1, 101)
    for cosines in (
        np.random.default_rng(0).normal(0.3, 0.05, 5000),
        np.repeat([0.1, 0.2, 0.4], [30, 50, 20]),
        np.full(50, 0.25),
    ):
        quantiles = np.quantile(cosines, at)
        shares = cell_shares(quantiles.tolist())
        assert shares.min() >= 0
        assert shares.sum() == pytest.approx(1)
        for edge in (0.15, 0.2501, 0.3):
            below = shares[: round((edge + 1) / 2 * CELLS)].sum()
            # A jump of the distribution may lie anywhere between two hundredths.
            assert below == pytest.approx((cosines <= edge).mean(), abs=0.0101)


def test_bins_are_tenths_of_the_labels() -> None:
    """Ten bins, each with about a tenth of both classes in equal parts."""
    matched, mismatched = (
        cell_shares(quantiles)
        for quantiles in (LIVE.reference.match_quantiles, LIVE.reference.mismatch_quantiles)
    )
    mixed = (matched + mismatched) / 2
    starts = bin_starts(mixed)
    assert len(starts) == BINS
    assert np.add.reduceat(mixed, starts) == pytest.approx(EVEN, abs=0.005)


@pytest.mark.parametrize("prevalence", [0.0, 0.01, 0.05, 0.5, 0.95])
def test_more_or_fewer_mismatches_are_no_drift(prevalence: float) -> None:
    """Whatever the share of mismatches, it is found, and what is left is next to nothing."""
    rng = np.random.default_rng(0)
    done = [drift_of(_traffic(rng, prevalence=prevalence), LIVE) for _ in range(40)]
    assert max(one.psi or 0 for one in done) < 0.02
    # Chance, and the last hundredth of a class, of which quantiles tell only where it ends.
    assert np.mean([one.psi for one in done]) < (done[0].psi_by_chance or 0) + 0.005
    assert np.mean([one.prevalence for one in done]) == pytest.approx(prevalence, abs=0.01)
    assert max(one.wasserstein or 0 for one in done) < 0.06


@pytest.mark.parametrize(
    ("change", "is_high"),
    [
        ({"match": 0.345}, False),
        ({"match": 0.32}, True),
        ({"match": 0.40}, True),
        ({"spread": 0.06}, True),
        ({"prevalence": 0.5, "mismatch": 0.14}, True),
    ],
)
def test_what_looks_different_is_seen(change: dict[str, float], is_high: bool) -> None:
    """Matches lower, higher or wider, mismatches closer: from a warning on to a page."""
    done = drift_of(_traffic(np.random.default_rng(0), **change), LIVE)
    steady = drift_of(_traffic(np.random.default_rng(1)), LIVE)
    assert level_of(done, steady) is Level.WARN
    assert level_of(done, done) is (Level.PAGE if is_high else Level.WARN)
    assert level_of(steady, done) is Level.STEADY
    assert (done.wasserstein or 0) > 3 * (steady.wasserstein or 0)


def test_a_given_prevalence_is_not_fitted() -> None:
    """Where somebody says what to expect, traffic that is otherwise has drifted."""
    counts = _traffic(np.random.default_rng(0))
    said = drift_of(counts, LIVE, prevalence=0.5)
    assert said.prevalence == 0.5
    assert (said.psi or 0) > 0.25 > 0.02 > (drift_of(counts, LIVE, prevalence=0.05).psi or 1)


def test_the_nearest_prevalence_is_the_likeliest() -> None:
    """No other one on a fine grid makes the counts likelier."""
    matched, mismatched = np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.3, 0.1])
    observed = np.array([300, 250, 450])
    grid = np.linspace(0.001, 0.999, 999)
    mixed = np.outer(1 - grid, matched) + np.outer(grid, mismatched)
    best = grid[np.argmax(np.log(mixed) @ observed)]
    assert nearest_prevalence(observed, matched, mismatched) == pytest.approx(best, abs=1e-3)


def _without_reference() -> Artifact:
    return LIVE.model_copy(update={"reference": None})


@pytest.mark.parametrize(
    ("n", "artifact", "reason"),
    [
        (999, LIVE, "999 scored verdicts; 1,000 are needed"),
        (0, LIVE, "0 scored verdicts"),
        (1000, _without_reference(), "has no reference: make a new one"),
    ],
)
def test_no_figure_without_a_ground_for_it(n: int, artifact: Artifact, reason: str) -> None:
    """Below a thousand, and without a reference, there is a reason instead."""
    done = drift_of(_traffic(np.random.default_rng(0), n), artifact)
    assert done.items == n
    assert (done.psi, done.wasserstein, done.prevalence) == (None, None, None)
    assert reason in str(done.reason)
    assert level_of(done, done) is None


def test_a_reference_of_few_labels_does_not_cry_wolf() -> None:
    """A PSI that chance may well make is no warning, however high it is."""
    drift = Drift(2000, psi=0.2, psi_by_chance=0.1, wasserstein=0.1, prevalence=0.05)
    assert level_of(drift, drift) is Level.STEADY
    assert level_of(replace(drift, psi_by_chance=0.05), drift) is Level.WARN
