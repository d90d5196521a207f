"""`/v1/review/session`, and what else is one's own: preferences, password, other sessions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review.auth import ActorDep, SessionDep, address_of, check_same_origin
from moderation.review.login import SignInDep, set_cookie, status_of
from moderation.review.sign_in import WrongCredentials, end_session
from moderation.store import audit, sessions, users
from moderation.store.audit import Actor
from moderation.store.sessions import Kind, Session
from moderation.store.users import Role
from moderation.wiring import Services

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "nobody is signed in, or name or password is wrong"},
    403: {"description": "a form of another site or of an old session, or a wrong old password"},
    404: {"description": "no session of yours has this id"},
    422: {"description": "the new password will not do"},
    429: {"description": "too many failed log-ins; `Retry-After` says when to try again"},
    503: {"description": "failures cannot be counted, so nobody signs in"},
}

router = APIRouter(prefix="/v1/review", tags=["desk: accounts"], responses=_REFUSALS)


class LogInIn(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid")

    name: str
    password: str


class TokenOut(BaseModel):
    """A bearer token; it is shown once."""

    token: str
    expires_at: datetime


class Preferences(BaseModel):
    """How somebody wants to see images at first."""

    model_config = ConfigDict(extra="forbid")

    blur: bool
    grey: bool


class SessionOut(BaseModel):
    """Who is signed in; `csrf` goes into the header `X-CSRF-Token` where a cookie is sent."""

    name: str
    role: Role
    kind: Kind
    csrf: str | None
    preferences: Preferences


class PasswordIn(BaseModel):
    """The password until now and the one from now on."""

    model_config = ConfigDict(extra="forbid")

    old: str
    new: str = Field(description="12 to 1024 characters")


class OpenSessionOut(BaseModel):
    """Where one is signed in."""

    id: UUID
    kind: Kind
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool


@router.post("/session", status_code=201, dependencies=[Depends(check_same_origin)])
async def open_session(
    body: LogInIn, request: Request, services: ServicesDep, sign_in: SignInDep
) -> TokenOut:
    """Sign a tool in by name and password: a bearer token for as long as a session lasts."""
    try:
        opened = await sign_in.by_password(
            body.name, body.password, address=address_of(request), kind=Kind.TOKEN
        )
    except (InputRefused, ServiceUnavailable) as error:
        raise _refusal(error) from error
    return TokenOut(token=opened.token, expires_at=opened.expires_at)


@router.get("/session")
def show_session(session: SessionDep) -> SessionOut:
    """Who is signed in."""
    user = session.user
    return SessionOut(
        name=user.name,
        role=user.role,
        kind=session.kind,
        csrf=session.csrf if session.kind is Kind.BROWSER else None,
        preferences=Preferences(blur=user.blur, grey=user.grey),
    )


@router.delete("/session", status_code=204)
def close_session(services: ServicesDep, session: SessionDep, actor: ActorDep) -> None:
    """Sign out."""
    end_session(services, actor, session)


@router.put("/preferences")
def change_preferences(
    body: Preferences, services: ServicesDep, session: SessionDep, actor: ActorDep
) -> Preferences:
    """Change how one sees images at first."""
    save_preferences(services, session, actor, body)
    return body


@router.put("/password", status_code=204)
async def change_password(
    body: PasswordIn,
    request: Request,
    response: Response,
    services: ServicesDep,
    session: SessionDep,
    sign_in: SignInDep,
) -> None:
    """Change one's own password, which ends all one's sessions; a browser gets a new cookie."""
    try:
        opened = await sign_in.change_password(
            session, body.old, body.new, address=address_of(request)
        )
    except WrongCredentials as error:
        raise HTTPException(403, "the old password is wrong") from error
    except (InputRefused, ServiceUnavailable) as error:
        raise _refusal(error) from error
    if opened is not None:
        set_cookie(response, services.settings, opened.token)


@router.get("/sessions")
def list_sessions(services: ServicesDep, session: SessionDep) -> list[OpenSessionOut]:
    """Where one is signed in, also with tokens."""
    return own_sessions(services, session)


@router.delete("/sessions/{session_id}", status_code=204)
def end_one(session_id: UUID, services: ServicesDep, session: SessionDep, actor: ActorDep) -> None:
    """Sign one's own other browser out, or make one's token worthless."""
    if not end_own(services, session, actor, session_id):
        raise HTTPException(404, "none of your sessions has this id, or it has ended already")


def save_preferences(
    services: Services, session: Session, actor: Actor, wanted: Preferences
) -> None:
    """Store how somebody wants to see images at first."""
    with services.database.begin() as connection:
        users.set_preferences(connection, session.user.name, blur=wanted.blur, grey=wanted.grey)
        audit.record(
            connection, actor, "preferences.changed", f"user:{session.user.name}",
            **wanted.model_dump(),
        )  # fmt: skip


def own_sessions(services: Services, session: Session) -> list[OpenSessionOut]:
    """Where somebody is signed in, the last opened first."""
    idle = timedelta(seconds=services.settings.session_idle_s)
    with services.database.connect() as connection:
        found = sessions.list_open(connection, session.user.name, idle=idle)
    return [
        OpenSessionOut(
            id=one.id,
            kind=one.kind,
            created_at=one.created_at,
            seen_at=one.seen_at,
            expires_at=one.expires_at,
            current=one.id == session.id,
        )
        for one in found
    ]


def end_own(services: Services, session: Session, actor: Actor, session_id: UUID) -> bool:
    """End a session of the same person; False if there is none of theirs."""
    with services.database.begin() as connection:
        ended = sessions.end(connection, session_id, session.user.name)
        if ended:
            audit.record(connection, actor, "session.ended", f"session:{session_id}")
    return ended


def _refusal(error: InputRefused | ServiceUnavailable) -> HTTPException:
    status_code, headers = status_of(error)
    return HTTPException(status_code, str(error), headers=headers)
