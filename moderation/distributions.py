"""Histograms that take many values at once.

prometheus_client's own takes each value by itself, which for the half dozen of every submission
costs a worker as much as storing its verdict. What is shown is the same.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Distribution:
    """The values of one series, by upper bounds that rise; threads may share it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Take one value."""
        self.observe_all((value,))

    def observe_all(self, values: Sequence[float]) -> None:
        """Take values; each counts in the first bucket whose bound it does not exceed."""
        places = [bisect_left(self._bounds, value) for value in values]
        total = sum(values)
        with self._lock:
            for place in places:
                self._counts[place] += 1
            self._sum += total

    def shown(self) -> tuple[list[tuple[str, float]], float]:
        """How many values do not exceed each bound, and the sum of all."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        buckets: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip(self._bounds, counts, strict=True):
            seen += count
            name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((name, float(seen)))
        return buckets, total


class Distributions(Collector):
    """One metric: a distribution for each value of its label, all of which are known before."""

    def __init__(
        self,
        name: str,
        documentation: str,
        *,
        bounds: Sequence[float],
        registry: CollectorRegistry,
        label: str | None = None,
        values: Sequence[str] = ("",),
    ) -> None:
        self._name, self._documentation = name, documentation
        self._labels = [label] if label else []
        self.of: Mapping[str, Distribution] = {value: Distribution(bounds) for value in values}
        registry.register(self)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The metric as it is now."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for value, distribution in self.of.items():
            buckets, total = distribution.shown()
            family.add_metric([value] if self._labels else [], buckets, total)
        return [family]
