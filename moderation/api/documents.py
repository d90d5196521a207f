"""What the API answers with."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from moderation.store.outcome import Review, ToldCase, ToldDecision
from moderation.store.submissions import Accepted, Status
from moderation.types import Verdict
from moderation.verdict import to_document


class AcceptedOut(BaseModel):
    """One accepted submission, and where to ask for its verdict."""

    id: UUID
    external_id: str | None
    status_url: str
    known: bool = Field(description="true if this external_id was there before")

    @classmethod
    def of(cls, accepted: Accepted) -> "AcceptedOut":
        """The answer to one accepted submission."""
        return cls(
            id=accepted.id,
            external_id=accepted.external_id,
            status_url=f"/v1/submissions/{accepted.id}",
            known=accepted.known,
        )


class AcceptedBatchOut(BaseModel):
    """The accepted submissions, in the order they were sent in."""

    submissions: list[AcceptedOut]


class VerdictOut(BaseModel):
    """What the pipeline says of a submission."""

    outcome: str = Field(description="pass, flag or unscorable")
    reason: str | None = Field(description="why it cannot be scored")
    detail: str | None
    cosine: float | None = Field(description="raw CLIP cosine, in [-1, 1]")
    score: float | None = Field(description="calibrated match score, in [0, 1]")
    threshold: float = Field(description="scores below it are flagged")
    calibration_version: str
    model: str
    notes: list[str] = Field(description="such as first_frame_only, caption_truncated")
    decided_at: datetime

    @classmethod
    def of(cls, verdict: Verdict, decided_at: datetime) -> "VerdictOut":
        """The document of one verdict."""
        return cls(**to_document(verdict), decided_at=decided_at)


class StatusCaseOut(BaseModel):
    """A person looks, or has looked, at what was flagged, could not be scored or was appealed."""

    state: str = Field(description="open or resolved")
    route: str = Field(description="why: flagged, unscorable or appeal")
    opened_at: datetime
    resolution: str | None = Field(description="mismatch, match or unsure; null while it is open")
    resolved_at: datetime | None

    @classmethod
    def of(cls, case: ToldCase) -> "StatusCaseOut":
        """The document of one case."""
        return cls(
            state="open" if case.answer is None else "resolved",
            route=case.route.value,
            opened_at=case.opened_at,
            resolution=case.answer and case.answer.value,
            resolved_at=case.decided_at,
        )


class StatusAppealOut(BaseModel):
    """The appeal that was decided."""

    id: UUID
    outcome: str = Field(description="overturned or upheld")


class StatusDecisionOut(BaseModel):
    """What a person decided, as webhooks tell it; it is told once it cannot be undone."""

    answer: str = Field(description="mismatch, match or unsure")
    reason: str | None = Field(description="of the policy's list")
    decided_at: datetime
    overturns_verdict: bool = Field(description="whether it is the opposite of the verdict")
    appeal: StatusAppealOut | None

    @classmethod
    def of(cls, decision: ToldDecision) -> "StatusDecisionOut":
        """The document of one decision."""
        appeal = decision.appeal
        return cls(
            answer=decision.answer.value,
            reason=decision.reason,
            decided_at=decision.decided_at,
            overturns_verdict=decision.overturns_verdict,
            appeal=appeal and StatusAppealOut(id=appeal.id, outcome=appeal.outcome),
        )


class StatusOut(BaseModel):
    """A submission, its verdict, null until there is one, and what people make of it."""

    id: UUID
    external_id: str | None
    policy: str
    caption: str
    created_at: datetime
    status: str = Field(description="queued or done")
    verdict: VerdictOut | None
    case: StatusCaseOut | None = Field(description="the newest; null where nobody is asked")
    decisions: list[StatusDecisionOut] = Field(description="the newest, which holds, comes last")

    @classmethod
    def of(cls, status: Status, review: Review) -> "StatusOut":
        """The document of one submission."""
        verdict = None
        if status.verdict is not None and status.done_at is not None:
            verdict = VerdictOut.of(status.verdict, status.done_at)
        return cls(
            id=status.submission.id,
            external_id=status.submission.external_id,
            policy=status.submission.policy,
            caption=status.submission.caption,
            created_at=status.submission.created_at,
            status="done" if verdict else "queued",
            verdict=verdict,
            case=review.case and StatusCaseOut.of(review.case),
            decisions=[StatusDecisionOut.of(decision) for decision in review.decisions],
        )


class StatusesOut(BaseModel):
    """Those of the submissions asked for that exist."""

    submissions: list[StatusOut]
