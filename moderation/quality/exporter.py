"""Precision and recall for Prometheus, shown by the one scheduler that measures them."""

import math
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge

from moderation.quality.agreement import Figure
from moderation.quality.figures import WINDOWS, Figures, Quality, Scope
from moderation.quality.shares import Estimate
from moderation.store.audit_plans import Auditing

_BOUNDS = ("point", "lower", "upper")
_STATISTICS = ("kappa", "positive")

# A gauge, the values of its labels, and what it is to show.
_Sample = tuple[Gauge, tuple[str, ...], float]


class QualityMetrics:
    """Gauges of live traffic; NaN where nothing is known, and while another scheduler measures.

    Of policies and calibrations there are series only while they have traffic.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"captionguard_{name}", what, labels, registry=registry)

        bounds = ("bound", "window")
        self._overall = {
            "precision": gauge("quality_precision", "Share of flags that are mismatches.", *bounds),
            "recall": gauge("quality_recall", "Share of mismatches that are flagged.", *bounds),
            "prevalence": gauge(
                "quality_prevalence", "Share of scored submissions that are mismatches.", *bounds
            ),
            "flag_rate": gauge(
                "quality_flag_rate", "Share of scored submissions that are flagged.", *bounds
            ),
        }
        self._counts = {
            "audits": gauge("quality_audit_labels", "Audited passes that are settled.", "window"),
            "found_misses": gauge(
                "quality_found_misses", "Those of them that are mismatches.", "window"
            ),
            "answered_flags": gauge("quality_answered_flags", "Flags that are settled.", "window"),
        }
        self._policies = {
            name: gauge(
                f"policy_quality_{name}",
                f"{name.capitalize()} of the policies with most traffic.",
                "policy",
                *bounds,
            )
            for name in ("precision", "recall", "prevalence")
        }
        self._calibrations = {
            name: gauge(
                f"calibration_quality_{name}",
                f"{name.capitalize()} of what was judged with a calibration.",
                "calibration_version",
                *bounds,
            )
            for name in ("precision", "recall", "prevalence")
        }
        self._agreement = gauge(
            "quality_agreement",
            "Agreement of people who decided on the same case in 28 days, each on their own.",
            "statistic",
            "bound",
        )
        self._estimated_at = gauge(
            "quality_estimated_timestamp_seconds", "When these figures were measured."
        )
        self._floor = gauge(
            "audit_plan_floor", "The probability with which every pass is audited at least."
        )
        self._expected = gauge("audit_expected_per_day", "Audits that the plan makes of a day.")
        self._shown: set[tuple[Gauge, tuple[str, ...]]] = set()
        self.forget()

    def show(self, figures: Figures, auditing: Auditing | None) -> None:
        """Show what was measured, and the plan of audits if it is known."""
        self._set(figures, auditing)

    def forget(self) -> None:
        """Say that nothing is known."""
        self._set(None, None)

    def _set(self, figures: Figures | None, auditing: Auditing | None) -> None:
        samples = [*self._whole(figures), *self._plan(auditing)]
        if figures is not None:
            samples += self._parts(figures)
        # Set before the others go: a scrape in between misses none that stays.
        for gauge, labels, value in samples:
            (gauge.labels(*labels) if labels else gauge).set(value)
        shown = {(gauge, labels) for gauge, labels, _ in samples}
        for gauge, labels in self._shown - shown:
            gauge.remove(*labels)
        self._shown = shown

    def _whole(self, figures: Figures | None) -> Iterator[_Sample]:
        for days in WINDOWS:
            found = figures.of.get(Scope(days)) if figures else None
            window = _label(days)
            for name, gauge in self._overall.items():
                yield from _bounds(gauge, (), window, getattr(found, name, None))
            for name, gauge in self._counts.items():
                yield gauge, (window,), _or_nan(getattr(found, name, None))
        for statistic in _STATISTICS:
            figure: Figure | None = getattr(figures and figures.agreement, statistic, None)
            for bound in _BOUNDS:
                value = getattr(figure and figure.interval, bound, None)
                yield self._agreement, (statistic, bound), _or_nan(value)
        yield self._estimated_at, (), figures.at.timestamp() if figures else math.nan

    def _parts(self, figures: Figures) -> Iterator[_Sample]:
        for scope, quality in figures.of.items():
            if scope.policy is not None:
                yield from _each(self._policies, scope.policy, scope.days, quality)
            elif scope.calibration_version is not None:
                yield from _each(self._calibrations, scope.calibration_version, scope.days, quality)

    def _plan(self, auditing: Auditing | None) -> Iterator[_Sample]:
        # More than all that passes cannot be audited.
        expected = min(auditing.budget, auditing.passes_per_day) if auditing else math.nan
        yield self._floor, (), auditing.plan.floor if auditing else math.nan
        yield self._expected, (), expected


def _each(gauges: dict[str, Gauge], name: str, days: int, quality: Quality) -> Iterator[_Sample]:
    for figure, gauge in gauges.items():
        yield from _bounds(gauge, (name,), _label(days), getattr(quality, figure))


def _bounds(
    gauge: Gauge, names: tuple[str, ...], window: str, estimate: Estimate | None
) -> Iterator[_Sample]:
    for bound in _BOUNDS:
        yield gauge, (*names, bound, window), _or_nan(getattr(estimate, bound, None))


def _label(days: int) -> str:
    return f"{days}d"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
