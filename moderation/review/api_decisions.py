"""`/v1/review/…decisions`: decide, one case or many together, and undo."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from moderation.review.deciding import Made, Said
from moderation.review.desk_api import REFUSALS, Body, DeskDep, Note, ReviewerDep, refusals
from moderation.review.documents import (
    CaseOut,
    DecisionOut,
    DecisionsOut,
    RefusedOut,
    UndoneOut,
)
from moderation.review.refusals import DeskRefused
from moderation.store.decisions import Answer

router = APIRouter(prefix="/v1/review", tags=["review"], responses=REFUSALS)

MAX_TOGETHER = 200


class DecisionIn(Body):
    """What you say of a case; `reason` is a key of its policy's list."""

    answer: Answer
    reason: Annotated[str, Field(max_length=200)] | None = None
    note: Note = None

    def said(self) -> Said:
        """The answer as the desk takes it."""
        return Said(self.answer, self.reason or None, self.note)


class DecisionsIn(DecisionIn):
    """One answer to many cases."""

    case_ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_TOGETHER)]


@router.post("/claims/{claim_id}/decision")
def decide(claim_id: UUID, body: DecisionIn, reviewer: ReviewerDep, desk: DeskDep) -> DecisionOut:
    """Decide the case that you have claimed; the same sent again changes nothing."""
    with refusals():
        return _decided(desk.decide(reviewer, claim_id, body.said()))


@router.post("/decisions")
def decide_many(body: DecisionsIn, reviewer: ReviewerDep, desk: DeskDep) -> DecisionsOut:
    """Decide up to 200 cases together; what somebody else has is refused by itself."""
    with refusals():
        done = desk.decide_many(reviewer, body.case_ids, body.said())
    return DecisionsOut(
        batch_id=done.batch_id,
        decided=[_decided(made) for made in done.decided],
        refused=_refused(done.refused),
        undo_until=done.decided[0].undo_until if done.decided else None,
    )


@router.post("/decisions/{decision_id}/undo")
def undo(decision_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> CaseOut:
    """Take your decision back in time; the case is yours again, under a fresh claim."""
    with refusals():
        return desk.undo(reviewer, decision_id)


@router.post("/decisions/batches/{batch_id}/undo")
def undo_batch(batch_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> UndoneOut:
    """Take back what you decided together; the cases go back to the queue."""
    with refusals():
        done = desk.undo_batch(reviewer, batch_id)
    return UndoneOut(undone=done.undone, refused=_refused(done.refused))


def _decided(made: Made) -> DecisionOut:
    return DecisionOut(
        decision_id=made.decision_id, case_id=made.case_id, undo_until=made.undo_until
    )


def _refused(refused: Mapping[UUID, DeskRefused]) -> list[RefusedOut]:
    return [
        RefusedOut(case_id=id_, problem=why.problem.value, message=why.message)
        for id_, why in refused.items()
    ]
