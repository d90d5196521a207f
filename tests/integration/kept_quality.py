"""Figures as the scheduler keeps them, for pages that show them."""

from datetime import UTC, datetime, timedelta

from moderation.quality.agreement import Agreement, Figure
from moderation.quality.figures import Figures, Quality, Scope
from moderation.quality.shares import Estimate, unknown_share
from moderation.store import quality_estimates
from moderation.wiring import Services

LAG = timedelta(days=1)


def known(point: float, width: float) -> Estimate:
    """An estimate with an interval so wide."""
    return Estimate(point, max(0.0, point - width / 2), min(1.0, point + width / 2))


def a_quality(
    *, recall: float | None = 0.62, precision: float = 0.842, audits: int = 1240, misses: int = 17
) -> Quality:
    """A window; without a recall audits have found too few misses."""
    too_few = unknown_share(f"audits have found {misses} misses; 5 are needed")
    return Quality(
        precision=known(precision, 0.08),
        recall=known(recall, 0.2) if recall is not None else too_few,
        prevalence=known(0.021, 0.006) if recall is not None else too_few,
        flag_rate=known(0.0199, 0.0004),
        unsure=known(0.02, 0.01),
        flags=2000,
        passes=98_000,
        audits=audits,
        answered_flags=1900,
        found_misses=misses,
    )


def figures(at: datetime, *, recall: float | None = 0.62, misses: int = 17) -> Figures:
    """All that is known at a moment: of three windows, two policies and one calibration."""
    whole = a_quality(recall=recall, misses=misses)
    of = {
        Scope(28): whole,
        Scope(7): a_quality(recall=recall, audits=310, misses=misses),
        Scope(1): a_quality(recall=None, audits=44, misses=1),
        Scope(28, calibration_version="c-1"): whole,
    }
    for name in ("default", "a_policy_with_a_name_that_goes_on_and_on"):
        of[Scope(28, policy=name)] = whole
    nothing = Figure(0)
    return Figures(at, LAG, of, Agreement(nothing, nothing, nothing, 0))


def keep(services: Services, found: Figures) -> None:
    """Keep figures as those of their day."""
    with services.database.begin() as connection:
        quality_estimates.keep(connection, found)


def keep_days(services: Services, days: int, *, gap: int | None = None) -> None:
    """Keep figures of so many days to today; three, the last `gap` days ago, know no recall."""
    now = datetime.now(UTC)
    for ago in reversed(range(days)):
        is_gap = gap is not None and gap <= ago < gap + 3
        recall = None if is_gap else 0.62 + 0.001 * (ago % 7)
        keep(
            services, figures(now - timedelta(days=ago), recall=recall, misses=3 if is_gap else 17)
        )
