"""Histograms that take many values at once show what prometheus_client's own would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from moderation.distributions import Distributions

# Halves of halves, whose sums are the same in any order.
BOUNDS = (0.0625, 0.5, 1, 30)
VALUES = st.sampled_from([0.0, 0.0625, 0.125, 0.25, 0.5, 1.0, 29.5, 30.0, 31.0, 1024.0])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(VALUES, max_size=5)), max_size=8))
def test_many_values_count_as_each_by_itself(chunks: list[tuple[str, list[float]]]) -> None:
    """The page is the library's, to the byte, in whatever chunks values come."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    stages = Distributions(
        "took_seconds", "Time.", label="stage", values=("a", "b"), bounds=BOUNDS, registry=ours
    )
    histogram = Histogram("took_seconds", "Time.", ["stage"], buckets=BOUNDS, registry=theirs)
    for stage in "ab":
        histogram.labels(stage)
    for stage, values in chunks:
        stages.of[stage].observe_all(values)
        for value in values:
            histogram.labels(stage).observe(value)
    assert _samples(generate_latest(ours)) == _samples(generate_latest(theirs))


def test_without_a_label_there_is_one_series() -> None:
    """Its values are shown under the metric's bare name."""
    registry = CollectorRegistry()
    (scores,) = Distributions("score", "Scores.", bounds=(0.5, 1), registry=registry).of.values()
    scores.observe(0.25)
    assert registry.get_sample_value("score_bucket", {"le": "0.5"}) == 1
    assert registry.get_sample_value("score_count") == 1
    assert registry.get_sample_value("score_sum") == 0.25


def _samples(page: bytes) -> set[str]:
    # Creation times are the library's own idea, and shown only if asked for.
    return {
        line
        for line in page.decode().splitlines()
        if not line.startswith("#") and "_created" not in line
    }
