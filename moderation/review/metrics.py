"""The desk's metrics: what people decided, counted in the API, and what waits for them."""

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.desk_figures import Counted, Waiting

# Whoever saw the count of a blind route fall with their own decision would know what it was on.
BLIND = "blind"
_ROUTES = (Route.FLAGGED.value, Route.UNSCORABLE.value, Route.APPEAL.value, BLIND)
_HANDLING_BUCKETS_S = (1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 900, 3600)


class ReviewMetrics:
    """What the desk did, counted once it is committed.

    A decision that is undone and made again counts twice, and once as undone; so does the end of
    an appeal.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "captionguard_review_decisions",
            "Decisions of people, by their answer; also those that were undone later.",
            ["answer"],
            registry=registry,
        )
        self.undone = Counter(
            "captionguard_review_undone_decisions",
            "Decisions that were taken back.",
            registry=registry,
        )
        self._appeals = Counter(
            "captionguard_review_appeals_settled",
            "Appeals with a clear answer: what stood before them, or the opposite.",
            ["result"],
            registry=registry,
        )
        self._handling = Histogram(
            "captionguard_review_handling_seconds",
            "Time from a case's coming in sight to its decision; not of cases decided together.",
            buckets=_HANDLING_BUCKETS_S,
            registry=registry,
        )
        # A rate sees the first event only of a series that was there before it.
        for answer in Answer:
            self._decisions.labels(answer.value)
        for result in ("upheld", "overturned"):
            self._appeals.labels(result)

    def count(self, made: Iterable[Counted]) -> None:
        """Count decisions that are committed."""
        for one in made:
            self._decisions.labels(one.answer.value).inc()
            if one.took is not None:
                self._handling.observe(one.took.total_seconds())
            if one.is_overturned is not None:
                self._appeals.labels("overturned" if one.is_overturned else "upheld").inc()


class WaitingMetrics:
    """Cases that wait for people, by route, as the one scheduler sees them that measures.

    NaN on all others and while nothing is known; zero where nothing waits.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cases = Gauge(
            "captionguard_review_cases_waiting",
            "Cases that wait for somebody, by route; blind ones are one group.",
            ["route"],
            registry=registry,
        )
        self._oldest_age = Gauge(
            "captionguard_review_oldest_case_age_seconds",
            "Age of the oldest of them.",
            ["route"],
            registry=registry,
        )
        self.forget()

    def show(self, waiting: Iterable[Waiting]) -> None:
        """Show what `desk_figures.waiting` found."""
        found = {one.route.value if one.route else BLIND: one for one in waiting}
        for route in (*_ROUTES, *(found.keys() - set(_ROUTES))):
            one = found.get(route)
            self._cases.labels(route).set(one.cases if one else 0)
            self._oldest_age.labels(route).set(one.oldest.total_seconds() if one else 0)

    def forget(self) -> None:
        """Say that nothing is known."""
        for route in _ROUTES:
            self._cases.labels(route).set(math.nan)
            self._oldest_age.labels(route).set(math.nan)
