"""What the API of webhooks takes and answers with."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from moderation.intake import Name
from moderation.media.urls import MAX_URL_CHARS
from moderation.review.webhooks import Added
from moderation.store.deliveries import Delivery, State
from moderation.store.endpoints import Endpoint
from moderation.webhooks import Answer


class EndpointIn(BaseModel):
    """Where a platform wants to be told."""

    model_config = ConfigDict(extra="forbid")

    platform: Name
    url: str = Field(max_length=MAX_URL_CHARS, description="https, on a public address")


class ReplayIn(BaseModel):
    """Which failed deliveries to send again."""

    model_config = ConfigDict(extra="forbid")

    failed_since_h: float = Field(24, gt=0, le=24 * 366, description="given up within so long")


class EndpointOut(BaseModel):
    """An endpoint, and how much waits for it or failed."""

    id: UUID
    platform: str
    url: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    previous_until: datetime | None = Field(description="the secret before signs as well until")
    pending: int
    failed: int

    @classmethod
    def of(cls, endpoint: Endpoint) -> "EndpointOut":
        """The document of an endpoint."""
        return cls.model_validate(endpoint, from_attributes=True)


class AddedOut(EndpointOut):
    """An endpoint with a new secret, which is shown this once."""

    secret: str

    @classmethod
    def of_added(cls, added: Added) -> "AddedOut":
        """The document of a new endpoint, or of one with a new secret."""
        return cls(**EndpointOut.of(added.endpoint).model_dump(), secret=added.secret)


class EndpointsOut(BaseModel):
    """All endpoints."""

    endpoints: list[EndpointOut]


class DeliveryOut(BaseModel):
    """An event's way to one endpoint."""

    id: UUID
    event_id: UUID = Field(description="the header `webhook-id`")
    kind: str = Field(description="verdict.created or decision.created")
    submission_id: UUID
    endpoint_id: UUID
    platform: str
    state: State
    attempts: int
    due_at: datetime = Field(description="of one that is pending, its next try")
    last_status: int | None
    last_problem: str | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        """The document of a delivery."""
        return cls.model_validate(delivery, from_attributes=True)


class DeliveriesOut(BaseModel):
    """Deliveries, the newest first."""

    deliveries: list[DeliveryOut]


class ReplayedOut(BaseModel):
    """How many deliveries are sent again."""

    replayed: int


class TestedOut(BaseModel):
    """What came of a ping; `problem` is null if the endpoint took it."""

    status: int | None
    problem: str | None
    took_s: float

    @classmethod
    def of(cls, answer: Answer) -> "TestedOut":
        """The document of an answer."""
        return cls(status=answer.status, problem=answer.problem, took_s=answer.took_s)
