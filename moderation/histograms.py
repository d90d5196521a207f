"""Histograms that take many values at once, since some are observed for every submission."""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Histogram:
    """How many values were at most each of some bounds; threads may share one.

    prometheus_client's own takes three locks and a walk over its bounds for each value.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = [float(bound) for bound in bounds]
        self._lock = threading.Lock()
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.observe_all((value,))

    def observe_all(self, values: Sequence[float]) -> None:
        """Count values."""
        with self._lock:
            for value in values:
                self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += sum(values)

    def state(self) -> tuple[list[tuple[str, float]], float]:
        """Each bound with how many values were at most that, as Prometheus wants it; their sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(counts)), strict=True)), total


class Histograms(Collector):
    """The histograms of one metric, by the values of its label, or one without a label."""

    def __init__(
        self,
        name: str,
        documentation: str,
        histograms: Mapping[tuple[str, ...], Histogram],
        *,
        labels: Sequence[str],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._histograms = histograms
        self._labels = labels
        registry.register(self)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What Prometheus sees."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, histogram in self._histograms.items():
            buckets, total = histogram.state()
            family.add_metric(values, buckets, total)
        yield family
