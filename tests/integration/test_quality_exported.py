"""The scheduler's figures on /metrics: of one scheduler only, and none where nothing is known."""

import contextlib
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from moderation.quality.agreement import Figure, Interval
from moderation.quality.exporter import QualityMetrics
from moderation.quality.figures import Scope
from moderation.settings import Settings
from moderation.store import audit_plans, quality_estimates
from moderation.wiring import Services
from tests.conftest import eventually
from tests.integration.kept_quality import a_quality, figures
from tests.integration.test_quality_kept import AT
from tests.integration.test_watch import running
from tests.integration.traffic import Case, Past, store
from workers.measure import Measuring

BOUNDS = ("point", "lower", "upper")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A scheduler that measures ten times a second what has just come in."""
    return settings.model_copy(update={"quality_every_s": 0.1, "quality_lag_s": 0.0})


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """All that is shown and is a number, by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not math.isnan(sample.value)
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """What a gauge shows; None while it is not there."""
    return registry.get_sample_value(f"captionguard_{name}", labels)


def measures(registry: CollectorRegistry, flags: int) -> bool:
    """Whether so many answered flags are shown."""
    return value(registry, "quality_answered_flags", window="28d") == flags


@contextlib.contextmanager
def measuring(services: Services) -> Iterator[CollectorRegistry]:
    """A scheduler's measuring, and what it shows, until the block ends."""
    registry = CollectorRegistry()
    with running(Measuring(services.database, services.settings, registry).run):
        yield registry


def come_in(services: Services, flags: int, policy: str = "default") -> None:
    """Flags that are decided, of this moment."""
    case = Case("flagged", 1.0, ["mismatch"])
    with services.database.begin() as connection:
        past = [Past(0.2, "flag", "m", timedelta(0), policy, cases=[case])] * flags
        store(connection, past, now=AT.now(AT.tzinfo))


def test_figures_are_shown_with_their_bounds() -> None:
    """Of all, of each policy and of each calibration; NaN for what has only a reason."""
    registry = CollectorRegistry()
    metrics = QualityMetrics(registry)
    assert shown(registry) == {}
    found = figures(AT)
    known = Figure(12, Interval(0.8, 0.7, 0.9))
    plan = audit_plans.assumed(200)
    metrics.show(replace(found, agreement=replace(found.agreement, positive=known)), plan)
    quality = found.of[Scope(28)]
    for name in ("precision", "recall", "prevalence", "flag_rate"):
        for bound in BOUNDS:
            expected = getattr(getattr(quality, name), bound)
            assert value(registry, f"quality_{name}", bound=bound, window="28d") == expected
            if name != "flag_rate":
                where = {"bound": bound, "window": "28d"}
                by_policy = value(registry, f"policy_quality_{name}", policy="default", **where)
                assert by_policy == expected
                by_calibration = value(
                    registry, f"calibration_quality_{name}", calibration_version="c-1", **where
                )
                assert by_calibration == expected
    assert math.isnan(value(registry, "quality_recall", bound="point", window="1d") or 0.0)
    assert value(registry, "quality_audit_labels", window="7d") == 310
    assert value(registry, "quality_found_misses", window="28d") == quality.found_misses
    assert value(registry, "quality_answered_flags", window="28d") == quality.answered_flags
    assert value(registry, "quality_agreement", statistic="positive", bound="lower") == 0.7
    assert math.isnan(value(registry, "quality_agreement", statistic="kappa", bound="lower") or 0.0)
    assert value(registry, "quality_estimated_timestamp_seconds") == AT.timestamp()
    assert value(registry, "audit_plan_floor") == plan.plan.floor > 0
    assert value(registry, "audit_expected_per_day") == 200
    # No more than pass.
    metrics.show(found, audit_plans.assumed(1_000_000))
    assert value(registry, "audit_expected_per_day") == audit_plans.ASSUMED_PASSES_PER_DAY
    metrics.forget()
    assert shown(registry) == {}
    assert value(registry, "policy_quality_recall", policy="default", **where) is None


def test_what_has_no_traffic_any_more_has_no_series() -> None:
    """Others stay, and what was known and is not becomes NaN."""
    registry = CollectorRegistry()
    metrics = QualityMetrics(registry)
    one, other = Scope(28, policy="one"), Scope(28, policy="other")
    found = figures(AT)
    plan = audit_plans.assumed(10)
    metrics.show(replace(found, of={one: a_quality(), other: a_quality()}), plan)
    metrics.show(replace(found, of={other: a_quality(recall=None)}), None)
    where = {"bound": "point", "window": "28d"}
    assert value(registry, "policy_quality_recall", policy="one", **where) is None
    assert math.isnan(value(registry, "policy_quality_recall", policy="other", **where) or 0.0)
    assert value(registry, "policy_quality_precision", policy="other", **where) == 0.842
    assert math.isnan(value(registry, "audit_plan_floor") or 0.0)


def test_one_of_two_schedulers_measures(services: Services) -> None:
    """The other shows nothing at all, until the first is gone; what is measured is kept."""
    come_in(services, 3)
    with measuring(services) as second:
        eventually(lambda: measures(second, 3))
        registry = CollectorRegistry()
        with running(Measuring(services.database, services.settings, registry).run):
            come_in(services, 2, policy="ads")
            eventually(lambda: measures(second, 5))
            assert shown(registry) == {}
            with services.database.begin() as connection:
                kept = quality_estimates.newest(connection)
            assert kept is not None
            assert kept.of[Scope(28, policy="ads")].answered_flags == 2
    assert shown(second) == {}
    with measuring(services) as third:
        eventually(lambda: measures(third, 5))


def test_what_fails_is_shown_as_nothing_and_tried_again(services: Services) -> None:
    """Planning that fails keeps nothing from being measured; measuring that fails is no figure."""

    def rename(one: str, other: str) -> None:
        with services.database.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {one} RENAME TO {other}")

    come_in(services, 3)
    with measuring(services) as registry:
        eventually(lambda: "captionguard_audit_plan_floor[]" in shown(registry))
        rename("audit_plans", "elsewhere")
        eventually(lambda: "captionguard_audit_plan_floor[]" not in shown(registry))
        come_in(services, 1)
        eventually(lambda: measures(registry, 4))
        rename("verdict_counts", "nowhere")
        eventually(lambda: shown(registry) == {})
        rename("nowhere", "verdict_counts")
        rename("elsewhere", "audit_plans")
        eventually(lambda: measures(registry, 4))


def test_a_scheduler_starts_without_statistics() -> None:
    """They take a second or two, and much memory: only who measures needs them."""
    code = "import sys, workers.upkeep; print(*{'scipy', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
