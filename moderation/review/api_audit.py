"""`GET /v1/review/audit`: the append-only log of who did what, for leads."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from moderation.api.auth import ServicesDep
from moderation.review.auth import LeadDep
from moderation.review.fields import EmptyIsNone, OptionalText
from moderation.store import audit
from moderation.store.audit import Line, Wanted
from moderation.store.sessions import Session
from moderation.store.users import Role
from moderation.wiring import Services

router = APIRouter(prefix="/v1/review", tags=["review"])


class AuditQuery(BaseModel):
    """Which lines; each filter fits exactly. Days are those of UTC."""

    actor: OptionalText = Field(None, description="`NAME`, `platform:NAME` or `cli:NAME`")
    action: OptionalText = Field(None, description="such as `case.decided`")
    subject: OptionalText = Field(None, description="such as `case:ID`")
    day: Annotated[date | None, EmptyIsNone] = Field(None, description="`2026-11-22`")
    cursor: Annotated[Annotated[int, Field(ge=0, lt=2**63)] | None, EmptyIsNone] = Field(
        None, description="`next_cursor` of the page before"
    )
    limit: int = Field(100, ge=1, le=1000)

    def wanted(self) -> Wanted:
        """The same for the store."""
        since = None if self.day is None else datetime.combine(self.day, time(), UTC)
        is_last = self.day == date.max
        until = None if since is None or is_last else since + timedelta(days=1)
        return Wanted(self.actor, self.action, self.subject, since, until)


class LineOut(BaseModel):
    """A line of the log."""

    id: int
    at: datetime
    actor: str = Field(description="a user's name, `platform:NAME` or `cli:NAME`")
    action: str
    subject: str | None = Field(description="what it was done to, `noun:id`")
    details: dict[str, Any]
    address: str | None = Field(description="where the request came from; for admins only")

    @classmethod
    def of(cls, line: Line, *, with_address: bool) -> "LineOut":
        """The document of a line."""
        return cls(
            id=line.id,
            at=line.created_at,
            actor=line.actor,
            action=line.action,
            subject=line.subject,
            details=dict(line.details),
            address=line.address if with_address else None,
        )


class AuditOut(BaseModel):
    """Lines, the newest first; `next_cursor` leads to older ones."""

    lines: list[LineOut]
    next_cursor: int | None


@router.get("/audit", responses={401: {"description": "nobody is signed in"}})
def read_audit(
    services: ServicesDep, session: LeadDep, query: Annotated[AuditQuery, Query()]
) -> AuditOut:
    """Who did what to what, the newest first; only admins see addresses."""
    return read_lines(services, session, query)


def read_lines(services: Services, session: Session, query: AuditQuery) -> AuditOut:
    """A page of the log, as much of it as this person may see."""
    with services.database.connect() as connection:
        # One more than asked for, to know whether there are older ones.
        found = audit.lines(
            connection, query.wanted(), before=query.cursor, at_most=query.limit + 1
        )
    shown = found[: query.limit]
    with_address = session.user.role.may(Role.ADMIN)
    return AuditOut(
        lines=[LineOut.of(line, with_address=with_address) for line in shown],
        next_cursor=shown[-1].id if len(found) > len(shown) else None,
    )
