"""Histograms of many values at once show what prometheus_client's own would."""

from collections.abc import Sequence

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from moderation.histograms import Histogram, Histograms
from tests.unit.threads import all_at_once

BOUNDS = (0.001, 0.03, 1, 10)
# Sums of these are the same in any order.
VALUES = st.lists(st.sampled_from([0.0, 2**-11, 0.25, 1.0, 1.5, 10.0, 64.0]))


@given(chunks=st.lists(st.tuples(st.sampled_from(["a", "b"]), VALUES)))
def test_the_page_is_the_librarys(chunks: Sequence[tuple[str, list[float]]]) -> None:
    """Whatever is observed, in whatever chunks, Prometheus reads the same page."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histograms = {"a": Histogram(BOUNDS), "b": Histogram(BOUNDS)}
    Histograms(
        "durations",
        "How long.",
        {(k,): h for k, h in histograms.items()},
        labels=["k"],
        registry=ours,
    )
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    library = prometheus_client.Histogram(
        "durations", "How long.", ["k"], buckets=BOUNDS, registry=theirs
    )
    for label in histograms:
        library.labels(label)
    for label, values in chunks:
        histograms[label].observe_all(values)
        for value in values:
            library.labels(label).observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


@given(values=VALUES)
def test_one_without_a_label_is_the_librarys_too(values: list[float]) -> None:
    """Also where there is but one, and values come one by one."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram(BOUNDS)
    Histograms("scores", "How well.", {(): histogram}, labels=(), registry=ours)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    library = prometheus_client.Histogram("scores", "How well.", buckets=BOUNDS, registry=theirs)
    for value in values:
        histogram.observe(value)
        library.observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_threads_lose_no_value() -> None:
    """What several threads observe at the same moment is all counted."""
    histogram = Histogram(BOUNDS)
    all_at_once([lambda: [histogram.observe_all((0.5, 2.0)) for _ in range(500)]] * 4)
    buckets, total = histogram.state()
    assert buckets[-1] == ("+Inf", 4000)
    assert total == 4 * 500 * 2.5
