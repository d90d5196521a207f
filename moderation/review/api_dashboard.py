"""`GET /v1/review/dashboard`: how the desk is doing."""

from datetime import UTC, date, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from moderation.quality.agreement import Figure, share
from moderation.review.api_agreement import AgreementOut, FigureOut
from moderation.review.auth import SessionDep
from moderation.review.dashboard_figures import DashboardFigures, Published, Snapshot
from moderation.store.decisions import Answer
from moderation.store.desk_figures import Judged, Waiting
from moderation.store.users import Role

router = APIRouter(prefix="/v1/review", tags=["review"])


class WaitingOut(BaseModel):
    """Cases that wait, one group of them."""

    route: str = Field(description="flagged, unscorable or appeal; `others` are decided blind")
    cases: int
    oldest_s: float
    median_s: float

    @classmethod
    def of(cls, found: Waiting) -> Self:
        """The document of a group."""
        return cls(
            route=found.route.value if found.route else "others",
            cases=found.cases,
            oldest_s=found.oldest.total_seconds(),
            median_s=found.median.total_seconds(),
        )


class VerdictsOut(BaseModel):
    """Verdicts of a day; `flag_rate` is the share flagged of those that have a score."""

    passed: int
    flagged: int
    unscorable: int
    flag_rate: FigureOut

    @classmethod
    def of(cls, found: Judged) -> Self:
        """The document of a day's verdicts."""
        return cls(
            passed=found.passed,
            flagged=found.flagged,
            unscorable=found.unscorable,
            flag_rate=FigureOut.of(_flag_rate([found])),
        )


class DayOut(BaseModel):
    """A day of UTC; the last one is not over."""

    day: date
    decisions: dict[Answer, int]
    verdicts: VerdictsOut
    handling_s: float | None = Field(
        description="median seconds from a case's coming in sight to its decision"
    )


class PublicationOut(BaseModel):
    """What was published, and the threshold that is live since; null where that is not known."""

    at: datetime
    policy: str
    action: str
    live_version: str | None
    candidate_version: str | None
    candidate_share: float | None
    threshold: float | None

    @classmethod
    def of(cls, found: Published) -> Self:
        """The document of a publication."""
        entry = found.entry
        return cls(
            at=entry.created_at.astimezone(UTC),
            policy=entry.policy,
            action=entry.action.value,
            live_version=entry.state.live_version,
            candidate_version=entry.state.candidate_version,
            candidate_share=entry.state.candidate_share,
            threshold=found.threshold,
        )


class DashboardOut(BaseModel):
    """How the desk is doing; at most a minute old."""

    at: datetime = Field(description="when it was counted")
    waiting: list[WaitingOut]
    days: list[DayOut] = Field(description="28 days of UTC, the last one today")
    publications: list[PublicationOut] = Field(description="in these days, the oldest first")
    flag_rate: FigureOut = Field(description="of the last seven days")
    handling_s: float | None = Field(description="median of all these days")
    appeals_overturned: FigureOut = Field(description="share of the appeals that were settled")
    agreement: AgreementOut | None = Field(description="for leads only")
    undecidable: int | None = Field(description="cases nobody may decide; for leads only")

    @classmethod
    def of(cls, found: Snapshot, role: Role) -> Self:
        """The document of a snapshot, as much of it as a role may see."""
        is_lead = role.may(Role.LEAD)
        appeals = found.overturned
        overall = found.handled.get(None)
        return cls(
            at=found.at,
            waiting=[WaitingOut.of(each) for each in found.waiting],
            days=[_day(found, day) for day in found.days],
            publications=[PublicationOut.of(each) for each in found.published],
            flag_rate=FigureOut.of(_flag_rate([found.judged[day] for day in found.days[-7:]])),
            handling_s=overall.total_seconds() if overall is not None else None,
            appeals_overturned=FigureOut.of(share(appeals.overturned, appeals.appeals)),
            agreement=AgreementOut.of(found.agreement) if is_lead else None,
            undecidable=found.undecidable if is_lead else None,
        )


def figures_of(request: Request) -> DashboardFigures:
    """The figures that the application keeps."""
    figures: DashboardFigures = request.app.state.dashboard
    return figures


FiguresDep = Annotated[DashboardFigures, Depends(figures_of)]


@router.get("/dashboard", responses={401: {"description": "nobody is signed in"}})
def read_dashboard(session: SessionDep, figures: FiguresDep) -> DashboardOut:
    """What waits, what was decided and flagged over 28 days, and how long it took."""
    return DashboardOut.of(figures.get(), session.user.role)


def _day(found: Snapshot, day: date) -> DayOut:
    took = found.handled.get(day)
    counts = found.decided.get(day, {})
    return DayOut(
        day=day,
        decisions={answer: counts.get(answer, 0) for answer in Answer},
        verdicts=VerdictsOut.of(found.judged[day]),
        handling_s=took.total_seconds() if took is not None else None,
    )


def _flag_rate(days: list[Judged]) -> Figure:
    flagged = sum(day.flagged for day in days)
    return share(flagged, flagged + sum(day.passed for day in days))
