"""The log-in page and the way out."""

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review.auth import (
    ActorDep,
    SessionDep,
    address_of,
    check_same_origin,
    cookie_of,
    find_session,
    is_https,
)
from moderation.review.limits import TooManyAttempts
from moderation.review.pages import page
from moderation.review.sign_in import SignIn, WrongCredentials, end_session
from moderation.settings import Settings
from moderation.store.audit import Actor
from moderation.store.sessions import Kind
from moderation.wiring import Services

HOME = "/review"
# What our own pages have in their addresses; all else, such as `\`, browsers read in ways of
# their own.
_LOCAL = re.compile(r"/review(/[\w.~%@+-]+)*/?(\?[\w.~%@+&=:,/-]*)?", re.ASCII)

router = APIRouter(include_in_schema=False)


def local_path(wanted: str | None) -> str:
    """Where to go after the log-in: a page of the desk, whatever was asked for."""
    if not wanted or len(wanted) > 2000 or _LOCAL.fullmatch(wanted) is None:
        return HOME
    path = unquote(unquote(urlsplit(wanted).path))
    is_strange = ".." in path or "//" in path or "\\" in path or not path.isprintable()
    if is_strange or path.startswith(("/review/login", "/review/logout", "/review/static")):
        return HOME
    return wanted


def sign_in_of(request: Request) -> SignIn:
    """The process's one door for passwords, put there by `add_pages`."""
    sign_in: SignIn = request.app.state.sign_in
    return sign_in


SignInDep = Annotated[SignIn, Depends(sign_in_of)]


@router.get("/review/login")
async def show_login(
    services: ServicesDep, next_: Annotated[str | None, Query(alias="next")] = None
) -> HTMLResponse:
    """The form; it needs no token of its own, see `sign_in_here`."""
    return login_page(services.settings, next_=local_path(next_))


@router.post("/review/login", dependencies=[Depends(check_same_origin)])
async def sign_in_here(
    request: Request,
    services: ServicesDep,
    sign_in: SignInDep,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next_: Annotated[str | None, Form(alias="next")] = None,
) -> Response:
    """Sign in and go on to where somebody wanted to go.

    Another site could send this form to sign somebody in as somebody else. Every browser says
    where a form comes from, so its origin is checked; that needs no cookie before the log-in.
    """
    next_ = local_path(next_)
    try:
        opened = await sign_in.by_password(
            name, password, address=address_of(request), kind=Kind.BROWSER
        )
    except (InputRefused, ServiceUnavailable) as error:
        status_code, headers = status_of(error)
        answer = login_page(
            services.settings, next_=next_, name=name[:64], problem=str(error), status=status_code
        )
        answer.headers.update(headers)
        return answer
    await run_in_threadpool(_end_former, services, request)
    home = RedirectResponse(next_, status_code=303)
    set_cookie(home, services.settings, opened.token)
    return home


@router.post("/review/logout")
async def sign_out_here(services: ServicesDep, session: SessionDep, actor: ActorDep) -> Response:
    """End the session, here and in the database."""
    await run_in_threadpool(end_session, services, actor, session)
    answer = RedirectResponse("/review/login", status_code=303)
    answer.delete_cookie(
        cookie_of(services.settings), path="/", secure=is_https(services.settings), httponly=True
    )
    return answer


def status_of(error: InputRefused | ServiceUnavailable) -> tuple[int, dict[str, str]]:
    """How HTTP says that nobody was signed in."""
    if isinstance(error, TooManyAttempts):
        return 429, {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, ServiceUnavailable):
        return 503, {"Retry-After": "5"}
    return (401 if isinstance(error, WrongCredentials) else 422), {}


def login_page(
    settings: Settings, *, next_: str, name: str = "", problem: str | None = None, status: int = 200
) -> HTMLResponse:
    """The page with the form, and with what went wrong."""
    provider = urlsplit(settings.oidc_issuer).hostname if settings.oidc_issuer else None
    return page(
        "login.html.j2", None, status_code=status,
        next=next_, name=name, problem=problem, single_sign_on=provider,
    )  # fmt: skip


def set_cookie(answer: Response, settings: Settings, token: str) -> None:
    """Give a browser its session, which it forgets when it is closed."""
    answer.set_cookie(
        cookie_of(settings), token, path="/", httponly=True, samesite="lax",
        secure=is_https(settings),
    )  # fmt: skip


def _end_former(services: Services, request: Request) -> None:
    """End the session that this browser had until now: nobody could end it any more."""
    token = request.cookies.get(cookie_of(services.settings))
    if token is None:
        return
    former = find_session(services, token)
    if former is not None and former.kind is Kind.BROWSER:
        end_session(services, Actor(former.user.name, address_of(request)), former)
