"""What the API answers with."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

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


class StatusOut(BaseModel):
    """A submission and its verdict, null until there is one."""

    id: UUID
    external_id: str | None
    policy: str
    caption: str
    created_at: datetime
    status: str = Field(description="queued or done")
    verdict: VerdictOut | None

    @classmethod
    def of(cls, status: Status) -> "StatusOut":
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
        )


class StatusesOut(BaseModel):
    """Those of the submissions asked for that exist."""

    submissions: list[StatusOut]
