"""`/v1/review/claims`: take the next case, keep it, give it back."""

from uuid import UUID

from fastapi import APIRouter, Response

from moderation.review.desk_api import REFUSALS, Body, DeskDep, Name, Note, ReviewerDep, refusals
from moderation.review.documents import CaseOut, HeartbeatOut

router = APIRouter(prefix="/v1/review/claims", tags=["review"], responses=REFUSALS)


class ClaimIn(Body):
    """Which case: the next one of all policies or of one, or a certain one."""

    policy: Name | None = None
    case_id: UUID | None = None


class HoldIn(Body):
    """A note for later."""

    note: Note = None


class AssignIn(Body):
    """To whom, and what they should know."""

    to: Name
    note: Note = None


@router.post(
    "",
    status_code=201,
    response_model=CaseOut,
    responses={204: {"description": "nothing waits for you"}},
)
def claim(body: ClaimIn, reviewer: ReviewerDep, desk: DeskDep) -> CaseOut | Response:
    """Take a case: nobody else gets it while the claim beats."""
    with refusals():
        if body.case_id is not None:
            return desk.take(reviewer, body.case_id)
        return desk.next_case(reviewer, body.policy) or Response(status_code=204)


@router.post("/{claim_id}/heartbeat")
def heartbeat(claim_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> HeartbeatOut:
    """Keep a claim; send it every third of `CAPTIONGUARD_REVIEW_LEASE_S`."""
    with refusals():
        return HeartbeatOut(expires_at=desk.heartbeat(reviewer, claim_id))


@router.post("/{claim_id}/release", status_code=204)
def release(claim_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> None:
    """Give a case back to the queue, where you may get it again."""
    with refusals():
        desk.release(reviewer, claim_id)


@router.post("/{claim_id}/skip", status_code=204)
def skip(claim_id: UUID, reviewer: ReviewerDep, desk: DeskDep) -> None:
    """Pass a case over: it does not come back to you; leads get what three people skip."""
    with refusals():
        desk.skip(reviewer, claim_id)


@router.post("/{claim_id}/hold", status_code=204)
def hold(claim_id: UUID, body: HoldIn, reviewer: ReviewerDep, desk: DeskDep) -> None:
    """Lay a case aside for yourself; it waits under `mine`."""
    with refusals():
        desk.hold(reviewer, claim_id, body.note)


@router.post("/{claim_id}/assign", status_code=204)
def assign(claim_id: UUID, body: AssignIn, reviewer: ReviewerDep, desk: DeskDep) -> None:
    """Give a case to a lead or to yourself; leads give it to anybody."""
    with refusals():
        desk.assign(reviewer, claim_id, body.to, body.note)
