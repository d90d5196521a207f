"""`GET /v1/review/quality`: precision and recall as they were measured last, for leads."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from moderation.quality.documents import to_document
from moderation.review.api_dashboard import FiguresDep
from moderation.review.auth import NOT_ALLOWED, LeadDep

router = APIRouter(prefix="/v1/review", tags=["review"], responses=NOT_ALLOWED)


class EstimateOut(BaseModel):
    """A share with its 95 % interval; nulls, and the reason, where it is not known."""

    point: float | None
    lower: float | None
    upper: float | None
    reason: str | None


class WindowOut(BaseModel):
    """What is known of what came in so many days."""

    precision: EstimateOut = Field(description="of flagged posts, the share that are mismatches")
    recall: EstimateOut = Field(description="of mismatches, the share that was flagged")
    prevalence: EstimateOut = Field(description="of scored posts, the share that are mismatches")
    flag_rate: EstimateOut = Field(description="of scored posts, the share that was flagged")
    unsure: EstimateOut = Field(description="of answered cases, the share that nobody could tell")
    flags: int
    passes: int
    audits: int = Field(description="audited passes with an answer that stands")
    answered_flags: int
    found_misses: int = Field(description="audited passes that two people called mismatches")


class AgreedOut(BaseModel):
    """A figure of agreement, of `n` cases; nulls where it cannot be said."""

    n: int
    point: float | None
    lower: float | None
    upper: float | None


class TwoPeopleOut(BaseModel):
    """How far two people agree who decide the same case."""

    observed: AgreedOut
    positive: AgreedOut
    kappa: AgreedOut
    unclear: int


class LiveQualityOut(BaseModel):
    """Precision and recall by window (`1d`, `7d`, `28d`); nothing before it was measured once."""

    at: datetime | None = Field(description="when it was measured")
    lag_s: float | None = Field(description="what came in later than so long before is left out")
    windows: dict[str, WindowOut]
    policies: dict[str, dict[str, WindowOut]]
    calibrations: dict[str, dict[str, WindowOut]]
    agreement: TwoPeopleOut | None


@router.get("/quality")
def read_quality(session: LeadDep, figures: FiguresDep) -> LiveQualityOut:
    """Precision and recall of live traffic, overall and by policy and calibration."""
    newest = figures.get().quality.newest
    if newest is None:
        return LiveQualityOut(
            at=None, lag_s=None, windows={}, policies={}, calibrations={}, agreement=None
        )
    return LiveQualityOut.model_validate(to_document(newest))
