"""Precision and recall from some decisions: right on average, and honest about how sure."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from moderation.quality.shares import Estimate, Found, share
from moderation.store.history import Decided
from thresholds.estimates import CELLS, in_cell, precision_and_recall

NOTHING = np.empty(0)


def _found(weights: list[float], heaviest: float | None = None) -> Found:
    return Found(np.array(weights), max(weights) if heaviest is None else heaviest)


def test_the_interval_of_many_is_that_of_the_logit() -> None:
    """With equal weights, and many found, it is the textbook's interval of log odds."""
    done = share(_found([1.0] * 80), _found([1.0] * 20))
    spread = stats.norm.ppf(0.975) * math.sqrt(1 / 80 + 1 / 20)
    expected = [stats.logistic.cdf(math.log(80 / 20) + sign * spread) for sign in (-1, 1)]
    assert done.point == pytest.approx(0.8)
    assert [done.lower, done.upper] == pytest.approx(expected)


def test_the_interval_is_the_sampled_window_plus_the_spread_of_the_process() -> None:
    """Σ y(1-π)/π² of Poisson sampling and R(1-R)/T of the process, both on the logit."""
    hit, missed = np.full(300, 1.0), np.full(40, 5.0)
    done = share(Found(hit, 1.0), Found(missed, 5.0))
    total = hit.sum() + missed.sum()
    recall = hit.sum() / total
    sampled = sum(((1 - 1 / w) * w**2).sum() / w.sum() ** 2 for w in (hit, missed))
    process = recall * (1 - recall) / total / (recall * (1 - recall)) ** 2
    spread = stats.norm.ppf(0.975) * math.sqrt(sampled + process)
    assert done.lower == pytest.approx(stats.logistic.cdf(stats.logistic.ppf(recall) - spread))
    assert done.upper == pytest.approx(stats.logistic.cdf(stats.logistic.ppf(recall) + spread))


def test_the_interval_of_few_is_that_of_poisson_counts() -> None:
    """Gamma bounds of equal weights are Garwood's exact ones of a count."""
    done = share(_found([1.0] * 50), _found([1.0] * 4))
    low, high = stats.chi2.ppf(0.025, 8) / 2, stats.chi2.ppf(0.975, 10) / 2
    assert done.lower == pytest.approx(50 / (50 + high))
    assert done.upper == pytest.approx(50 / (50 + low))
    none_missed = share(_found([1.0] * 50), _found([], heaviest=1.0))
    assert none_missed.upper == 1.0
    assert none_missed.lower == pytest.approx(50 / (50 - math.log(0.025)))


def _decided(rows: list[tuple[float, bool, bool, float]]) -> Decided:
    """Decisions as cosine, flagged at the time, mismatch, and the probability of review."""
    columns = list(zip(*rows, strict=True))
    return Decided(
        np.array(columns[0]),
        np.array(columns[1]),
        np.array(columns[2]),
        1 / np.array(columns[3]),
    )


def test_those_decided_stand_for_all_of_their_kind() -> None:
    """By hand: in each cell the share of mismatches, times how many verdicts the cell has."""
    flagged = [(0.1, True, True, 1.0)] * 30 + [(0.1, True, False, 1.0)] * 10
    newly = [(0.2, False, True, 0.5)] * 6 + [(0.2, False, False, 0.25)] * 5
    passed = [(0.3, False, True, 0.1)] * 6 + [(0.3, False, False, 0.1)] * 94
    decided = _decided(flagged + newly + passed)
    counts = {
        ("flag", "flag"): 80,
        ("pass", "flag"): 40,
        ("pass", "pass"): 2000,
        ("flag", "pass"): 0,
    }
    precision, recall = precision_and_recall(decided, decided.cosines < 0.25, counts)
    # Weights of 2 and 4: 12 of 32 newly flagged ones.
    hits, misses = 80 * 30 / 40 + 40 * 12 / 32, 2000 * 6 / 100
    assert precision.point == pytest.approx(hits / 120)
    assert recall.point == pytest.approx(hits / (hits + misses))


@pytest.mark.parametrize(
    ("newly", "audits", "reasons"),
    [
        ((500, 4), 50, ("the 500 newly flagged have fewer than 5 decisions",) * 2),
        ((500, 5), 4, (None, "decisions have found 4; 5 are needed")),
        # Of 501 flagged one more or less is nothing.
        ((1, 0), 5, (None, None)),
    ],
)
def test_what_is_not_known_is_not_said(
    newly: tuple[int, int], audits: int, reasons: tuple[str | None, str | None]
) -> None:
    """Without decisions of a kind, or found misses, there is a reason instead of a number."""
    count, reviewed = newly
    decided = _decided(
        [(0.1, True, True, 1.0)] * 500
        + [(0.2, False, False, 0.1)] * reviewed
        + [(0.3, False, True, 0.1)] * audits
        + [(0.3, False, False, 0.1)] * 50
    )
    counts = {
        ("flag", "flag"): 500,
        ("pass", "flag"): count,
        ("pass", "pass"): 1000,
        ("flag", "pass"): 0,
    }
    for estimate, reason in zip(
        precision_and_recall(decided, decided.cosines < 0.25, counts), reasons, strict=True
    ):
        if reason is None:
            assert estimate.reason is None
            assert estimate.point is not None
        else:
            assert reason in str(estimate.reason)
            assert (estimate.point, estimate.lower, estimate.upper) == (None, None, None)


def test_without_any_decision() -> None:
    """Nobody has decided: both say so."""
    nothing = Decided(NOTHING, NOTHING.astype(bool), NOTHING.astype(bool), NOTHING)
    for estimate in precision_and_recall(nothing, NOTHING.astype(bool), dict.fromkeys(CELLS, 9)):
        assert estimate == Estimate(None, None, None, "nobody has decided on any of them")


@pytest.mark.parametrize("threshold", [0.22, 0.25, 0.27])
def test_intervals_cover_what_is_true_of_the_process(threshold: float) -> None:
    """Of 95 % intervals, at least 93 of 100 hold the truth, with a threshold up or down."""
    rng = np.random.default_rng(0)
    prevalence, before, spread = 0.1, 0.25, 0.08
    recall = stats.norm.cdf((threshold - 0.15) / spread)
    false_positive = stats.norm.cdf((threshold - 0.36) / 0.05)
    hit, wrong = prevalence * recall, (1 - prevalence) * false_positive
    covered, said = Counter(), Counter()
    for _ in range(400):
        n = rng.poisson(8000)
        mismatch = rng.random(n) < prevalence
        cosines = np.where(mismatch, rng.normal(0.15, spread, n), rng.normal(0.36, 0.05, n))
        was, now = cosines < before, cosines < threshold
        pi = np.where(was, 1.0, 0.05 + 0.25 * np.exp(-(((cosines - before) / 0.05) ** 2)))
        seen = rng.random(n) < pi
        decided = Decided(cosines[seen], was[seen], mismatch[seen], 1 / pi[seen])
        counts = {cell: int(in_cell(cell, was, now).sum()) for cell in CELLS}
        estimates = precision_and_recall(decided, now[seen], counts)
        for name, estimate, truth in zip(
            ("precision", "recall"), estimates, (hit / (hit + wrong), recall), strict=True
        ):
            if estimate.lower is not None and estimate.upper is not None:
                said[name] += 1
                covered[name] += estimate.lower <= truth <= estimate.upper
    for name in ("precision", "recall"):
        assert said[name] > 300
        assert covered[name] / said[name] >= 0.93
