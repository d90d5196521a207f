"""`/v1/submissions/{id}/appeals`: a platform asks that somebody else looks at a post again."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from moderation.api.auth import PlatformDep, ServicesDep
from moderation.intake import Storable
from moderation.review.opening import patience
from moderation.store import appeals, submissions
from moderation.store.appeals import Appeal, NoSuchSubmission, NothingToAppeal
from moderation.store.audit import Actor
from moderation.store.cases import Route
from moderation.wiring import Services

router = APIRouter(prefix="/v1/submissions", tags=["submissions"])

MAX_STATEMENT_CHARS = 2000


class AppealIn(BaseModel):
    """What the author has to say to it."""

    model_config = ConfigDict(extra="forbid")

    statement: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_STATEMENT_CHARS),
        Storable,
    ] = Field(description="shown to the moderator who decides", examples=["The dog is behind us."])


class AppealOut(BaseModel):
    """An appeal, and what became of it."""

    id: UUID
    submission_id: UUID
    created_at: datetime
    status: str = Field(description="open or resolved")
    outcome: str | None = Field(
        description="overturned if it is a match after all, upheld if what stood stays; "
        "null while it is open"
    )
    answer: str | None = Field(description="mismatch, match or unsure")
    resolved_at: datetime | None

    @classmethod
    def of(cls, appeal: Appeal) -> "AppealOut":
        """The document of one appeal."""
        return cls(
            id=appeal.id,
            submission_id=appeal.submission_id,
            created_at=appeal.created_at,
            status="open" if appeal.resolved_at is None else "resolved",
            outcome=appeal.said and appeal.said.value,
            answer=appeal.answer and appeal.answer.value,
            resolved_at=appeal.resolved_at,
        )


class AppealsOut(BaseModel):
    """The appeals of a submission, the oldest first."""

    appeals: list[AppealOut]


@router.post(
    "/{submission_id}/appeals",
    status_code=201,
    responses={
        200: {"description": "one is open already; this is it", "model": AppealOut},
        400: {"description": "the body is no JSON"},
        401: {"description": "no valid API key"},
        404: {"description": "no such submission of yours"},
        409: {"description": "there is nothing to appeal, or no further time; `detail` says why"},
    },
)
def appeal(
    submission_id: UUID,
    body: AppealIn,
    request: Request,
    response: Response,
    services: ServicesDep,
    platform: PlatformDep,
) -> AppealOut:
    """Have a submission looked at by somebody who has not decided on it."""
    actor = Actor(f"platform:{platform}", request.client.host if request.client else None)
    try:
        with services.database.begin() as connection:
            found, is_new = appeals.receive(
                connection,
                submission_id,
                body.statement,
                platform=platform,
                due_in=patience(Route.APPEAL),
                undo=_undo(services),
                actor=actor,
            )
    except NoSuchSubmission as error:
        raise HTTPException(404, "no such submission of yours") from error
    except NothingToAppeal as error:
        raise HTTPException(409, str(error)) from error
    if not is_new:
        response.status_code = 200
    return AppealOut.of(found)


@router.get(
    "/{submission_id}/appeals",
    responses={
        401: {"description": "no valid API key"},
        404: {"description": "no such submission of yours"},
    },
)
def read_appeals(submission_id: UUID, services: ServicesDep, platform: PlatformDep) -> AppealsOut:
    """The appeals of a submission and what became of them."""
    with services.database.connect() as connection:
        if not submissions.find(connection, [submission_id], platform=platform):
            raise HTTPException(404, "no such submission of yours")
        found = appeals.of_submission(
            connection, submission_id, platform=platform, undo=_undo(services)
        )
    return AppealsOut(appeals=[AppealOut.of(one) for one in found])


def _undo(services: Services) -> timedelta:
    return timedelta(seconds=services.settings.review_undo_s)
