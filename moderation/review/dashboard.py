"""`/review/dashboard`: how the desk is doing, in figures and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from moderation.quality.words import percent, reading_of
from moderation.review.api_dashboard import DashboardOut, FiguresDep
from moderation.review.auth import SessionDep
from moderation.review.dashboard_figures import Snapshot
from moderation.review.pages import page
from moderation.review.quality_figures import DAYS, Shown
from moderation.store.decisions import Answer
from moderation.store.users import Role

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures as SVG; None where there is nothing to draw."""

    decisions: Markup | None
    flag_rate: Markup | None
    handling: Markup | None


@dataclass(frozen=True, slots=True)
class QualityPictures:
    """Precision and recall now, and of each over time; None where there is nothing to draw."""

    windows: Markup | None
    days: Mapping[str, Markup | None]


@router.get("/review/dashboard")
def dashboard_page(session: SessionDep, figures: FiguresDep) -> HTMLResponse:
    """What waits, what was decided and flagged over 28 days, and how long it took."""
    role = session.user.role
    snapshot = figures.get()
    found = DashboardOut.of(snapshot, role)
    live = snapshot.quality
    quality = Shown.to(role, live)
    return page(
        "dashboard.html.j2",
        session,
        here="/review/dashboard",
        found=found,
        answers=list(Answer),
        pictures=figures.made_once(_draw),
        waiting=sum(group.cases for group in found.waiting),
        oldest_s=max((group.oldest_s for group in found.waiting), default=0),
        span=span,
        quality=quality,
        quality_pictures=figures.made_once(_draw_all if role.may(Role.LEAD) else _draw_last_day),
        quality_days=DAYS,
        measured_at=live.newest.at if live.newest is not None and live.is_late else None,
        reading=reading_of(quality.says),
        in_percent=percent,
    )


def span(seconds: float) -> str:
    """A time that people read at a glance."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def _draw(snapshot: Snapshot) -> Pictures:
    # Not before somebody looks: the library takes long to import.
    from moderation.review import dashboard_pictures as drawing

    # All roles see the same pictures.
    found = DashboardOut.of(snapshot, Role.MODERATOR)
    last = found.days[-1]
    decisions = flag_rate = handling = None
    if total := sum(sum(day.decisions.values()) for day in found.days):
        label = (
            f"Bars of decisions a day: {total:,} in {len(found.days)} days, "
            f"{sum(last.decisions.values()):,} today so far. The table below has the figures."
        )
        decisions = Markup(drawing.draw_decisions(found, label))  # noqa: S704 - our own SVG
    if any(day.verdicts.flag_rate.point is not None for day in found.days):
        label = (
            "Share of scored submissions that was flagged, a dot a day with its interval; "
            f"{len(found.publications)} publications are marked. The table below has the figures."
        )
        flag_rate = Markup(drawing.draw_flag_rate(found, label))  # noqa: S704
    if found.handling_s is not None:
        label = (
            "Median seconds that a decision took, a dot a day; "
            f"{span(found.handling_s)} over all days. The table below has the figures."
        )
        handling = Markup(drawing.draw_handling(found, label))  # noqa: S704
    return Pictures(decisions, flag_rate, handling)


def _draw_all(snapshot: Snapshot) -> QualityPictures:
    return _draw_quality(Shown.to(Role.LEAD, snapshot.quality))


def _draw_last_day(snapshot: Snapshot) -> QualityPictures:
    return _draw_quality(Shown.to(Role.MODERATOR, snapshot.quality))


def _draw_quality(shown: Shown) -> QualityPictures:
    from moderation.review import quality_pictures as drawing

    windows = None
    if not shown.is_empty:
        label = (
            "Precision and recall as dots with their 95 % intervals as lines, from 0 to 100 %: "
            f"{' '.join(shown.says)} The table below has the figures."
        )
        windows = Markup(drawing.draw_windows(shown.windows, label))  # noqa: S704 - our own SVG
    days: dict[str, Markup | None] = dict.fromkeys(drawing.NAMES)
    for name in days:
        known = sum(getattr(quality, name).point is not None for _, quality in shown.days)
        if known:
            label = (
                f"The {name} of {DAYS} days as known at the end of each, dots with a ribbon of "
                f"95 % intervals; known on {known} of {len(shown.days)} days. "
                "The table below has the figures."
            )
            svg = drawing.draw_days(name, shown.days, label)
            days[name] = Markup(svg)  # noqa: S704
    return QualityPictures(windows, days)
