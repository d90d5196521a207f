"""`/v1/review/cases/{id}` and `/v1/review/mine`: look at cases, and write beside them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from moderation.review.desk_api import REFUSALS, Body, DeskDep, ReviewerDep, Text, refusals
from moderation.review.documents import CaseOut, CasesOut

router = APIRouter(prefix="/v1/review", tags=["review"], responses=REFUSALS)


class NoteIn(Body):
    """What to write beside a case."""

    text: Annotated[Text, Field(min_length=1)]


@router.get("/mine")
def mine(reviewer: ReviewerDep, desk: DeskDep) -> CasesOut:
    """The cases that you hold, and those that were assigned to you."""
    return CasesOut(cases=desk.mine(reviewer))


@router.get("/cases/{case_id}")
def read(case_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> CaseOut:
    """A case, without taking it."""
    with refusals():
        return desk.show(reviewer, case_id)


@router.post("/cases/{case_id}/take", status_code=201)
def take(case_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> CaseOut:
    """Claim a case that you hold, that is assigned to you, or that you found in a list."""
    with refusals():
        return desk.take(reviewer, case_id)


@router.post("/cases/{case_id}/notes", status_code=201)
def add_note(case_id: UUID, body: NoteIn, reviewer: ReviewerDep, desk: DeskDep) -> CaseOut:
    """Write beside a case; notes are never changed."""
    with refusals():
        return desk.note(reviewer, case_id, body.text)
