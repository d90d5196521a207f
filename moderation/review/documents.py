"""What the desk's API answers with; its pages are made of the same."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class ClaimOut(BaseModel):
    """Your turn at a case; `id` is the token for all that you do with it."""

    id: UUID
    expires_at: datetime


class EarlierOut(BaseModel):
    """A decision on the submission that stands."""

    case_id: UUID
    answer: str
    reason: str | None
    note: str | None
    decided_by: str | None = Field(description="null while an appeal of it is open")
    created_at: datetime


class NoteOut(BaseModel):
    """What somebody wrote beside a case."""

    by: str
    text: str
    at: datetime


class SameImageOut(BaseModel):
    """Another submission with the same image; on blind cases without what became of it."""

    submission_id: UUID | None
    case_id: UUID | None
    caption: str
    outcome: str | None
    created_at: datetime


class ReasonOut(BaseModel):
    """A reason of the policy's list."""

    key: str
    label: str


class AppealOut(BaseModel):
    """What the author of the post says."""

    statement: str
    created_at: datetime


class CaseOut(BaseModel):
    """A case as you may see it.

    Of a blind one nothing is told of where it comes from: neither verdict, route and times, nor
    ids, nor what others say of it.
    """

    id: UUID
    submission_id: UUID | None
    external_id: str | None
    platform: str
    policy: str
    caption: str
    caption_direction: str = Field(description="ltr or rtl, by the first letter that has one")
    created_at: datetime | None = Field(description="when the submission came in")
    due_at: datetime | None = Field(description="of two that wait, the earlier is next")
    state: str = Field(
        description="open, held or resolved; of a blind one moderators see open or held only"
    )
    level: str = Field(
        description="who may decide: moderator or lead; of a blind one moderators see their own"
    )
    blind: bool
    route: str | None = Field(description="flagged, unscorable, audit, golden or appeal")
    why: str | None = Field(description="why it is here, in a sentence")
    score: float | None
    threshold: float | None
    score_sentence: str | None
    outcome: str | None
    reason: str | None = Field(description="why it cannot be scored")
    detail: str | None
    notes_of_verdict: list[str]
    resolution: str | None = Field(description="the answer that stands")
    image_url: str | None = Field(description="our own copy")
    image_problem: str | None = Field(description="why there is no copy")
    earlier: list[EarlierOut]
    notes: list[NoteOut]
    same_image: list[SameImageOut]
    reasons: list[ReasonOut]
    reason_required_for: list[str] = Field(description="answers that need a reason")
    claim: ClaimOut | None
    appeal: AppealOut | None


class DecisionOut(BaseModel):
    """A decision that was stored."""

    decision_id: UUID
    case_id: UUID
    undo_until: datetime


class RefusedOut(BaseModel):
    """A case with which it was not done, and why."""

    case_id: UUID
    problem: str
    message: str


class DecisionsOut(BaseModel):
    """What became of cases that were decided together."""

    batch_id: UUID
    decided: list[DecisionOut]
    refused: list[RefusedOut]
    undo_until: datetime | None = Field(description="null where nothing was decided")


class UndoneOut(BaseModel):
    """What became of decisions that were undone together."""

    undone: int
    refused: list[RefusedOut]


class HeartbeatOut(BaseModel):
    """Until when the claim lasts now."""

    expires_at: datetime


class CasesOut(BaseModel):
    """Cases, the first to see to first."""

    cases: list[CaseOut]
