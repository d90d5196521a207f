"""`GET /v1/review/cases`: open cases that a person may decide now, as a list."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, BeforeValidator, Field

from moderation.api.auth import ServicesDep
from moderation.review.auth import SessionDep
from moderation.review.fields import EmptyIsNone, OptionalText
from moderation.store import case_list
from moderation.store.case_list import Filter, Listed, Place
from moderation.store.cases import Level, Route
from moderation.store.sessions import Session
from moderation.store.users import Role
from moderation.wiring import Services

router = APIRouter(prefix="/v1/review", tags=["review"])

PAGE = 60

_Score = Annotated[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, EmptyIsNone]
_Hours = Annotated[Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None, EmptyIsNone]


class CaseListQuery(BaseModel):
    """Which cases; each bound that is given holds, both ends included."""

    state: Literal["open"] = Field("open", description="what is held or decided is not listed")
    level: Annotated[Level, BeforeValidator(lambda value: value or Level.MODERATOR)] = Field(
        Level.MODERATOR, description="`lead`: what was escalated, for leads only"
    )
    policy: OptionalText = None
    route: Annotated[Literal["flagged", "unscorable"] | None, EmptyIsNone] = None
    score_min: _Score = Field(None, description="leaves out what has no score")
    score_max: _Score = Field(None, description="leaves out what has no score")
    age_min_h: _Hours = Field(None, description="hours since the case was opened, at least")
    age_max_h: _Hours = None
    caption: OptionalText = Field(None, description="a part of the caption; case does not matter")
    cursor: OptionalText = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(PAGE, ge=1, le=200)

    def wanted(self) -> Filter:
        """The same for the store."""
        return Filter(
            level=self.level,
            policy=self.policy,
            route=None if self.route is None else Route(self.route),
            score_min=self.score_min,
            score_max=self.score_max,
            age_min=_hours(self.age_min_h),
            age_max=_hours(self.age_max_h),
            caption=self.caption,
        )


class ListedOut(BaseModel):
    """A case of the list; `caption` is a stranger's text."""

    id: UUID
    submission_id: UUID
    policy: str
    caption: str
    created_at: datetime
    due_at: datetime
    level: Level
    route: Route
    score: float | None = Field(description="null if unscorable")
    threshold: float
    reason: str | None = Field(description="why it is unscorable")
    image_url: str | None = Field(description="our copy of the image; null if there is none yet")

    @classmethod
    def of(cls, found: Listed) -> Self:
        """The document of a case."""
        return cls(
            id=found.id,
            submission_id=found.submission_id,
            policy=found.policy,
            caption=found.caption,
            created_at=found.created_at,
            due_at=found.due_at,
            level=found.level,
            route=found.route,
            score=found.score,
            threshold=found.threshold,
            reason=found.reason,
            image_url=f"/v1/review/cases/{found.id}/image" if found.has_image else None,
        )


class CaseListOut(BaseModel):
    """Cases, the earliest due first; `next_cursor` leads to later ones."""

    cases: list[ListedOut]
    next_cursor: str | None


@router.get(
    "/cases",
    responses={
        401: {"description": "nobody is signed in"},
        403: {"description": "the level is for leads"},
    },
)
def list_cases(
    services: ServicesDep, session: SessionDep, query: Annotated[CaseListQuery, Query()]
) -> CaseListOut:
    """Open flagged and unscorable cases that you may decide now, the earliest due first.

    Cases that are decided blind are never listed, nor what somebody has before them.
    """
    return read_cases(services, session, query)


def read_cases(services: Services, session: Session, query: CaseListQuery) -> CaseListOut:
    """A page of the list."""
    if query.level is Level.LEAD and not session.user.role.may(Role.LEAD):
        raise HTTPException(403, f"this needs the role lead; yours is {session.user.role}")
    after = None if query.cursor is None else _read_cursor(query.cursor)
    with services.database.connect() as connection:
        # One more than asked for, to know whether there are later ones.
        found = case_list.listed(
            connection, session.user, query.wanted(), after=after, at_most=query.limit + 1
        )
    shown = found[: query.limit]
    return CaseListOut(
        cases=[ListedOut.of(each) for each in shown],
        next_cursor=_cursor(shown[-1]) if len(found) > len(shown) else None,
    )


def _cursor(last: Listed) -> str:
    return f"{last.due_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}_{last.id}"


def _read_cursor(cursor: str) -> Place:
    try:
        due_at, _, case_id = cursor.partition("_")
        return Place(datetime.fromisoformat(due_at).astimezone(UTC), UUID(case_id))
    except (ValueError, OverflowError) as error:
        raise HTTPException(
            422, "the cursor is not one of ours: take `next_cursor` of the page before"
        ) from error


def _hours(hours: float | None) -> timedelta | None:
    return None if hours is None else timedelta(hours=hours)
