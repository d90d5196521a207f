"""`/review/dashboard`: how the desk is doing, in figures and pictures."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from moderation.review.api_dashboard import DashboardOut, FiguresDep
from moderation.review.auth import SessionDep
from moderation.review.dashboard_figures import Snapshot
from moderation.review.pages import page
from moderation.store.decisions import Answer
from moderation.store.users import Role

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures as SVG; None where there is nothing to draw."""

    decisions: Markup | None
    flag_rate: Markup | None
    handling: Markup | None


@router.get("/review/dashboard")
def dashboard_page(session: SessionDep, figures: FiguresDep) -> HTMLResponse:
    """What waits, what was decided and flagged over 28 days, and how long it took."""
    found = DashboardOut.of(figures.get(), session.user.role)
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
