"""Who sits at the desk: a session's cookie or bearer token; what their role lets them do.

A browser sends its cookie by itself, also with a form that another site made it send. So a
request that changes something and comes with a cookie must carry the session's `csrf` as well,
in the header `X-CSRF-Token` or the form field `csrf`, and must not name another origin.
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from moderation.api.auth import ServicesDep
from moderation.settings import Settings
from moderation.store import sessions
from moderation.store.audit import Actor
from moderation.store.sessions import Kind, Session
from moderation.store.users import Role
from moderation.wiring import Services

COOKIE = "captionguard_session"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Tools send no such header; a browser that sends no Origin either says at least this much.
_OWN_SITE = (None, "same-origin", "none")
_bearer = HTTPBearer(
    auto_error=False, scheme_name="desk", description="a token from `captionguard users token`"
)


def cookie_of(settings: Settings) -> str:
    """The cookie's name: with `__Host-`, where there is TLS, no other host can set it."""
    return f"__Host-{COOKIE}" if is_https(settings) else COOKIE


def is_https(settings: Settings) -> bool:
    """Whether browsers find the desk by https."""
    return (settings.public_url or "").startswith("https://")


class NotSignedIn(HTTPException):
    """Nobody is signed in; pages answer with the log-in, the API with 401."""

    def __init__(self) -> None:
        super().__init__(
            401,
            "sign in at /review/login, or send `Authorization: Bearer TOKEN` with a token made by "
            "`captionguard users token NAME`",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def session_of(
    request: Request,
    services: ServicesDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Session:
    """The session of a request; 401 without one, 403 for a form that is not ours."""
    # Good only for the way it was made for: a browser's would outlive idling as a bearer token.
    if credentials is not None:
        session = await run_in_threadpool(find_session, services, credentials.credentials)
        if session is None or session.kind is not Kind.TOKEN:
            raise NotSignedIn
        return session
    session = None
    if (token := request.cookies.get(cookie_of(services.settings))) is not None:
        session = await run_in_threadpool(find_session, services, token)
    if session is None or session.kind is not Kind.BROWSER:
        raise NotSignedIn
    if request.method not in _SAFE_METHODS:
        await _check_origin(request, session)
    return session


async def _check_origin(request: Request, session: Session) -> None:
    check_same_origin(request)
    sent = request.headers.get("x-csrf-token")
    if sent is None and "form" in request.headers.get("content-type", ""):
        field = (await request.form()).get("csrf")
        sent = field if isinstance(field, str) else None
    if sent is None or not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        raise HTTPException(
            403, "this form is not of your session any more; reload the page and try again"
        )


def check_same_origin(request: Request) -> None:
    """403 for a request that a page of another site made a browser send."""
    origin = request.headers.get("origin")
    if origin is None and request.headers.get("sec-fetch-site") in _OWN_SITE:
        return
    public_url = request.app.state.services.settings.public_url
    ours = {request.headers.get("host"), urlsplit(public_url).netloc if public_url else None}
    if origin is None or _host_of(origin) not in ours:
        raise HTTPException(403, "this request comes from another site")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def needs(role: Role) -> Callable[[Session], Awaitable[Session]]:
    """A dependency: the session, 403 where its role does not suffice."""

    async def session_with_role(session: SessionDep) -> Session:
        if not session.user.role.may(role):
            raise HTTPException(403, f"this needs the role {role}; yours is {session.user.role}")
        return session

    return session_with_role


def actor_of(request: Request, session: "SessionDep") -> Actor:
    """Who the audit log is to name."""
    return Actor(session.user.name, address_of(request))


def address_of(request: Request) -> str | None:
    """Where a request comes from: the peer, unless that is a proxy that is trusted by setting."""
    return request.client.host if request.client else None


def find_session(services: Services, token: str) -> Session | None:
    """Whose token this is, of whichever kind."""
    idle = timedelta(seconds=services.settings.session_idle_s)
    with services.database.begin() as connection:
        return sessions.find(connection, token, idle=idle)


SessionDep = Annotated[Session, Depends(session_of)]
LeadDep = Annotated[Session, Depends(needs(Role.LEAD))]
AdminDep = Annotated[Session, Depends(needs(Role.ADMIN))]
ActorDep = Annotated[Actor, Depends(actor_of)]

# What the API's document says of requests that these refuse.
NOT_ALLOWED: dict[int | str, dict[str, Any]] = {
    401: {"description": "nobody is signed in"},
    403: {"description": "this needs another role, or the form is of another site or session"},
}
