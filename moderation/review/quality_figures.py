"""What the desk shows of precision and recall: what the scheduler measured and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from moderation.quality.documents import by_name
from moderation.quality.figures import WINDOWS, Figures, Quality
from moderation.quality.words import AuditEffort, period_says, says, says_without_counts
from moderation.settings import Settings
from moderation.store import audit_plans, quality_estimates
from moderation.store.users import Role

DAYS = max(WINDOWS)
_WEEKS = 12
# So many measurements in a row may be late before somebody should look why.
_MISSED = 4


@dataclass(frozen=True, slots=True)
class LiveQuality:
    """The newest figures, and of each day that is over those of `DAYS` that it ended with."""

    newest: Figures | None
    days: Sequence[tuple[date, Quality]]
    effort: AuditEffort
    is_late: bool

    @classmethod
    def read(cls, connection: Connection, settings: Settings, now: datetime) -> "LiveQuality":
        """What is kept."""
        newest = quality_estimates.newest(connection)
        since = now.date() - timedelta(weeks=_WEEKS)
        days = quality_estimates.by_day(connection, days=DAYS, since=since)
        began = audit_plans.first_at(connection)
        ago = timedelta(0)
        if newest is not None and began is not None:
            ago = max(ago, newest.at - newest.lag - began)
        every = timedelta(seconds=settings.quality_every_s)
        return cls(
            newest,
            [(day, quality) for day, quality in days if day < now.date()],
            AuditEffort(settings.audit_budget_per_day, ago / timedelta(days=1)),
            is_late=newest is not None and now - newest.at > _MISSED * every,
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """As much of it as a role may see; `windows`, the longest first, may be none at all.

    `has_counts` says whether that is all of it.
    """

    period: str
    says: Sequence[str]
    windows: Sequence[tuple[int, Quality]]
    days: Sequence[tuple[date, Quality]]
    policies: Mapping[str, Quality]
    calibrations: Mapping[str, Quality]
    has_counts: bool

    @classmethod
    def to(cls, role: Role, live: LiveQuality) -> "Shown":
        """Leads see all of it, others what the last day ended with, and no counts.

        What moderators answer moves the figures: by the newest ones, or by how many audits were
        answered and misses found, they could tell afterwards whether a blind case was an audit or
        a golden one. A day's end has everybody's answers in it, and another day's traffic. Leads
        may look behind blind cases once they are decided (see `blindness.sight`).
        """
        if not role.may(Role.LEAD):
            return cls._of_last_day(live)
        if live.newest is None:
            return cls("", [], [], live.days, {}, {}, True)
        found = live.newest
        windows = [(scope.days, quality) for scope, quality in reversed(found.overall())]
        days, longest = windows[0]
        policies, calibrations = by_name(found, days)
        return cls(
            period_says(found.at, found.lag, days),
            says(longest, days, live.effort),
            windows,
            live.days,
            policies,
            calibrations,
            True,
        )

    @classmethod
    def _of_last_day(cls, live: LiveQuality) -> "Shown":
        if not live.days:
            return cls("", [], [], [], {}, {}, False)
        day, quality = live.days[-1]
        return cls(
            f"{DAYS} days, as known at the end of {day.day} {day:%B}.",
            says_without_counts(quality),
            [(DAYS, quality)],
            live.days,
            {},
            {},
            False,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing that came in has a score."""
        return not any(quality.flags + quality.passes for _, quality in self.windows)
