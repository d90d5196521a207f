"""`/v1/review/golden`: submissions whose right answer is known, for leads."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from moderation.api.auth import ServicesDep
from moderation.intake import Storable
from moderation.review.auth import NOT_ALLOWED, ActorDep, LeadDep
from moderation.store import golden
from moderation.store.audit import Actor
from moderation.store.decisions import Answer
from moderation.store.golden import Golden, NotGolden
from moderation.wiring import Services

router = APIRouter(prefix="/v1/review", tags=["desk: quality"], responses=NOT_ALLOWED)


class GoldenIn(BaseModel):
    """A submission, its right answer and how one knows."""

    model_config = ConfigDict(extra="forbid")

    submission_id: UUID
    answer: Literal["mismatch", "match"]
    why: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), Storable
    ] = Field(description="how one knows that this is right")


class GoldenOut(BaseModel):
    """A golden submission and how people did on it."""

    submission_id: UUID
    policy: str
    caption: str
    answer: str
    why: str
    added_by: str
    created_at: datetime
    retired_at: datetime | None
    people: int = Field(description="how many have answered it")
    right: int = Field(description="how many of them were right")

    @classmethod
    def of(cls, found: Golden) -> "GoldenOut":
        """The document of one."""
        return cls(
            submission_id=found.submission_id,
            policy=found.policy,
            caption=found.caption,
            answer=found.answer.value,
            why=found.why,
            added_by=found.added_by,
            created_at=found.created_at,
            retired_at=found.retired_at,
            people=found.people,
            right=found.right,
        )


class GoldenListOut(BaseModel):
    """All of them, those in use first."""

    golden: list[GoldenOut]


@router.get("/golden")
def list_golden(services: ServicesDep, session: LeadDep) -> GoldenListOut:
    """What is golden, how many people had it and how many were right."""
    return GoldenListOut(golden=read_golden(services))


@router.post(
    "/golden",
    status_code=201,
    responses={
        404: {"description": "there is no such submission"},
        409: {"description": "this submission cannot be golden; `detail` says why"},
    },
)
def add_golden(
    body: GoldenIn, services: ServicesDep, session: LeadDep, actor: ActorDep
) -> GoldenOut:
    """Mix a submission in, whose right answer is beyond doubt."""
    try:
        store_golden(services, actor, body)
    except NotGolden as error:
        raise HTTPException(409 if error.is_there else 404, str(error)) from error
    return next(one for one in read_golden(services) if one.submission_id == body.submission_id)


@router.delete(
    "/golden/{submission_id}",
    status_code=204,
    responses={404: {"description": "it is not golden, or no longer"}},
)
def retire_golden(
    submission_id: UUID, services: ServicesDep, session: LeadDep, actor: ActorDep
) -> None:
    """Mix it in no longer; what people answered to it does not count any more."""
    with services.database.begin() as connection:
        if not golden.retire(connection, submission_id, actor=actor):
            raise HTTPException(404, "this submission is not golden, or no longer")


def read_golden(services: Services) -> list[GoldenOut]:
    """All golden submissions."""
    with services.database.connect() as connection:
        return [GoldenOut.of(one) for one in golden.list_all(connection)]


def store_golden(services: Services, actor: Actor, wanted: GoldenIn) -> None:
    """Make a submission golden; raises `NotGolden`."""
    with services.database.begin() as connection:
        golden.add(connection, wanted.submission_id, Answer(wanted.answer), wanted.why, actor=actor)
