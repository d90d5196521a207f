"""The way to the single sign-on and back."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review import accounts
from moderation.review.auth import address_of, is_https
from moderation.review.login import HOME, SignInDep, local_path, login_page, set_cookie, status_of
from moderation.review.oidc import NotProven, Person, SingleSignOn
from moderation.review.sign_in import SignIn, open_session
from moderation.settings import Settings
from moderation.store import audit, users
from moderation.store.audit import Actor
from moderation.store.sessions import Kind, Opened
from moderation.store.users import Role
from moderation.wiring import Services

router = APIRouter(prefix="/review/login/oidc", include_in_schema=False)
_COOKIE = "captionguard_sign_in"
_PATH = "/review/login/oidc"
_WAY = "single sign-on"


class NotWelcome(InputRefused):
    """The provider knows the person, the desk does not."""


def single_sign_on_of(request: Request) -> SingleSignOn:
    """The provider that is set; 404 where none is."""
    found: SingleSignOn | None = request.app.state.single_sign_on
    if found is None:
        raise HTTPException(404, "There is no single sign-on here. Sign in with a password.")
    return found


SingleSignOnDep = Annotated[SingleSignOn, Depends(single_sign_on_of)]


@router.get("")
async def begin(
    request: Request,
    services: ServicesDep,
    sign_in: SignInDep,
    provider: SingleSignOnDep,
    next: str | None = None,  # noqa: A002 - the name in the address
) -> Response:
    """Send the browser to the provider."""
    next_ = local_path(next)
    try:
        await run_in_threadpool(sign_in.limit.begin_elsewhere, address_of(request))
        begun = await provider.begin(next_)
    except (InputRefused, ServiceUnavailable) as error:
        return _again(services.settings, error, next_)
    answer = RedirectResponse(begun.url, status_code=303)
    answer.set_cookie(
        _COOKIE, begun.cookie, max_age=600, path=_PATH, httponly=True, samesite="lax",
        secure=is_https(services.settings),
    )  # fmt: skip
    return answer


@router.get("/callback")
async def come_back(
    request: Request, services: ServicesDep, sign_in: SignInDep, provider: SingleSignOnDep
) -> Response:
    """Take the provider's word for who it is, and open a session."""
    address = address_of(request)
    answer: Response
    try:
        person = await _proven(request, sign_in, provider)
        opened = await run_in_threadpool(welcome, services, person, address)
    except (InputRefused, NotProven, ServiceUnavailable) as error:
        await run_in_threadpool(_note, services, error, address)
        answer = _again(services.settings, error)
    else:
        answer = RedirectResponse(local_path(person.next), status_code=303)
        set_cookie(answer, services.settings, opened.token)
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer


async def _proven(request: Request, sign_in: SignIn, provider: SingleSignOn) -> Person:
    """Who came back; who fails too often is not listened to for a while."""
    await run_in_threadpool(sign_in.limit.check, address_of(request))
    try:
        return await provider.finish(dict(request.query_params), request.cookies.get(_COOKIE))
    except NotProven:
        await run_in_threadpool(sign_in.limit.failed, address_of(request))
        raise


def welcome(services: Services, person: Person, address: str | None) -> Opened:
    """Open a session for whom the provider has proven; `NotWelcome` if the desk does not want them.

    Who signed in so before is known by the subject, whatever they are called there now. A first
    sign-in is bound by the name only to an account that has no password: at many providers
    people choose their names, and nobody is to choose another person's account.
    """
    lasts = timedelta(seconds=services.settings.session_s)
    with services.database.begin() as connection:
        user = users.find_by_subject(connection, person.subject)
        name = _bind(connection, services.settings, person, address) if user is None else user.name
        found = accounts.existing(connection, name)
        if found.user.disabled_at is not None or found.oidc_subject != person.subject:
            raise NotWelcome("Your account is disabled. An admin of this desk can tell you why.")
        return open_session(
            connection, found.user.name, Kind.BROWSER, lasts, Actor(found.user.name, address),
            by=_WAY,
        )  # fmt: skip


def _bind(connection: Connection, settings: Settings, person: Person, address: str | None) -> str:
    """The account that this person gets at their first sign-in."""
    name = person.name
    if name is None or not accounts.is_name(name):
        raise NotWelcome(
            "The single sign-on gives you no name that an account here can have. Ask an admin of "
            "this desk."
        )
    actor = Actor(name, address)
    found = users.credentials(connection, name, lock=True)
    if found is None:
        if settings.oidc_role is None:
            raise NotWelcome(f"There is no account {name} here. Ask an admin of this desk for it.")
        role = Role(settings.oidc_role)
        if users.add(connection, name, role, password_hash=None, oidc_subject=person.subject):
            audit.record(connection, actor, "user.added", f"user:{name}", role=role, by=_WAY)
        # Else the same person was faster in another window, which is seen by the caller.
        return name
    if found.password_hash is not None or found.oidc_subject is not None:
        raise NotWelcome(
            f"The account {name} here is of somebody who signs in differently. Ask an admin of "
            "this desk."
        )
    users.set_subject(connection, name, person.subject)
    audit.record(connection, actor, "user.changed", f"user:{name}", bound_to=_WAY)
    return name


def _note(services: Services, error: Exception, address: str | None) -> None:
    if isinstance(error, NotProven | NotWelcome):
        with services.database.begin() as connection:
            audit.record(connection, Actor("nobody", address), "session.failed", None, by=_WAY)


def _again(settings: Settings, error: Exception, next_: str = HOME) -> Response:
    """The log-in page, with what went wrong."""
    if isinstance(error, InputRefused | ServiceUnavailable):
        status_code, headers = status_of(error)
    else:
        status_code, headers = 401, {}
    if isinstance(error, NotWelcome):
        status_code = 403
    answer = login_page(settings, next_=next_, problem=str(error), status=status_code)
    answer.headers.update(headers)
    return answer
