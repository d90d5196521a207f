"""`/v1/review/reasons`: what a decision may give as its reason, a list for each policy."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, HTTPException, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from moderation.api.auth import ServicesDep
from moderation.intake import Name, Storable
from moderation.review.auth import NOT_ALLOWED, ActorDep, LeadDep, SessionDep
from moderation.store import reasons
from moderation.store.decisions import Answer
from moderation.store.reasons import (
    ChangedMeanwhile,
    PolicyReasons,
    Reason,
    StoredReasons,
)
from moderation.types import DEFAULT_POLICY
from moderation.wiring import Services

router = APIRouter(prefix="/v1/review", tags=["desk: reasons"], responses=NOT_ALLOWED)

MAX_REASONS = 20


def _one_line(label: str) -> str:
    if len(label.splitlines()) > 1:
        raise ValueError("must be one line")
    return label


class ReasonIn(BaseModel):
    """One reason: `key` is stored with decisions, `label` is what people read."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
    label: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
        Storable,
        AfterValidator(_one_line),
    ]


class ReasonsIn(BaseModel):
    """A policy's list in the order shown, over the one that was there at `updated_at`."""

    model_config = ConfigDict(extra="forbid")

    reasons: Annotated[list[ReasonIn], Field(max_length=MAX_REASONS)]
    required_for: list[Answer] = Field([], description="answers that need a reason")
    updated_at: datetime | None = Field(
        None, description="of the list that this one replaces; null where it had none of its own"
    )

    @model_validator(mode="after")
    def _can_be_given(self) -> Self:
        keys = [reason.key for reason in self.reasons]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"the key {min(twice)} is there twice")
        if self.required_for and not keys:
            raise ValueError("a reason cannot be required where there is none to give")
        return self

    def to_listed(self) -> PolicyReasons:
        """The same for the store."""
        return PolicyReasons(
            tuple(Reason(reason.key, reason.label) for reason in self.reasons),
            frozenset(self.required_for),
        )


class ReasonOut(BaseModel):
    """One reason."""

    key: str
    label: str


class ReasonsOut(BaseModel):
    """What may be given as a reason under a policy, and whose list that is."""

    policy: str
    source: Literal["own", "default", "built_in"]
    reasons: list[ReasonOut]
    required_for: list[str]
    updated_at: datetime | None = Field(description="of its own list; null where it has none")

    @classmethod
    def of(
        cls,
        policy: str,
        source: Literal["own", "default", "built_in"],
        listed: PolicyReasons,
        updated_at: datetime | None = None,
    ) -> "ReasonsOut":
        """The document of a list."""
        return cls(policy=policy, source=source, updated_at=updated_at, **listed.to_document())


_CHANGED: dict[int | str, dict[str, Any]] = {
    409: {"description": "somebody else has changed it meanwhile; `now` is what it is"}
}


@router.get("/reasons")
def read_reasons(
    services: ServicesDep, session: SessionDep, policy: Annotated[Name, Query()] = DEFAULT_POLICY
) -> ReasonsOut:
    """What a decision under this policy may give as its reason."""
    return reasons_of(services, policy)


@router.put("/reasons/{policy:path}", responses=_CHANGED)
def change_reasons(
    policy: Name, body: ReasonsIn, services: ServicesDep, session: LeadDep, actor: ActorDep
) -> ReasonsOut:
    """Give a policy its own list; that of `default` serves all policies without one."""
    try:
        with services.database.begin() as connection:
            stored = reasons.put(
                connection, policy, body.to_listed(), read_at=body.updated_at, actor=actor
            )
    except ChangedMeanwhile as error:
        raise _conflict(error) from error
    return _own(stored)


@router.delete("/reasons/{policy:path}", status_code=204, responses=_CHANGED)
def remove_reasons(
    policy: Name,
    services: ServicesDep,
    session: LeadDep,
    actor: ActorDep,
    updated_at: Annotated[datetime | None, Query(description="of the list to remove")] = None,
) -> None:
    """Give a policy's own list up, so that the default's holds."""
    try:
        with services.database.begin() as connection:
            reasons.remove(connection, policy, read_at=updated_at, actor=actor)
    except ChangedMeanwhile as error:
        raise _conflict(error) from error


def reasons_of(services: Services, policy: str) -> ReasonsOut:
    """The list that holds for a policy."""
    with services.database.connect() as connection:
        stored = {one.policy: one for one in reasons.stored_lists(connection)}
    if policy in stored:
        return _own(stored[policy])
    if DEFAULT_POLICY in stored:
        return ReasonsOut.of(policy, "default", stored[DEFAULT_POLICY].listed)
    return ReasonsOut.of(policy, "built_in", reasons.BUILT_IN)


def _own(stored: StoredReasons) -> ReasonsOut:
    return ReasonsOut.of(stored.policy, "own", stored.listed, stored.updated_at)


def _conflict(error: ChangedMeanwhile) -> HTTPException:
    now = _own(error.now).model_dump(mode="json") if error.now else None
    return HTTPException(409, {"problem": "changed_meanwhile", "message": str(error), "now": now})
