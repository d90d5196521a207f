"""`/review/settings`: how one sees images, one's password, where one is signed in."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review import api_session
from moderation.review.api_session import Preferences
from moderation.review.auth import ActorDep, SessionDep, address_of
from moderation.review.login import SignInDep, set_cookie, status_of
from moderation.review.pages import page
from moderation.review.sign_in import WrongCredentials
from moderation.store import users
from moderation.store.sessions import Session
from moderation.wiring import Services

router = APIRouter(prefix="/review/settings", include_in_schema=False)
_HERE = "/review/settings"
_DONE = {
    "preferences": "Saved.",
    "password": "Your password is changed, and you are signed out everywhere else.",
    "session": "That session has ended.",
}


@router.get("")
def show_settings(
    services: ServicesDep, session: SessionDep, done: str | None = None
) -> HTMLResponse:
    """The page, with what was just done."""
    return _page(services, session, done=_DONE.get(done or ""))


@router.post("/preferences")
def save(
    services: ServicesDep,
    session: SessionDep,
    actor: ActorDep,
    blur: Annotated[bool, Form()] = False,
    grey: Annotated[bool, Form()] = False,
) -> Response:
    """Keep how somebody wants to see images; a box that is not ticked is not sent."""
    api_session.save_preferences(services, session, actor, Preferences(blur=blur, grey=grey))
    return RedirectResponse(f"{_HERE}?done=preferences", status_code=303)


@router.post("/password")
async def change_password(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    sign_in: SignInDep,
    old: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Change one's own password, and sign one out everywhere else."""
    try:
        if new != again:
            raise InputRefused("The new password was not typed the same twice.")
        opened = await sign_in.change_password(session, old, new, address=address_of(request))
    except (InputRefused, ServiceUnavailable) as error:
        is_old = isinstance(error, WrongCredentials)
        problem = "The old password is wrong." if is_old else str(error)
        status_code, headers = (403, {}) if is_old else status_of(error)
        answer = await run_in_threadpool(
            _page, services, session, problem=problem, status_code=status_code
        )
        answer.headers.update(headers)
        return answer
    back = RedirectResponse(f"{_HERE}?done=password", status_code=303)
    if opened is not None:
        set_cookie(back, services.settings, opened.token)
    return back


@router.post("/sessions/{session_id}/end")
def end_session(
    session_id: UUID, services: ServicesDep, session: SessionDep, actor: ActorDep
) -> Response:
    """End one's own other session; one that has ended already stays so."""
    api_session.end_own(services, session, actor, session_id)
    return RedirectResponse(f"{_HERE}?done=session", status_code=303)


def _page(
    services: Services,
    session: Session,
    *,
    done: str | None = None,
    problem: str | None = None,
    status_code: int = 200,
) -> HTMLResponse:
    with services.database.connect() as connection:
        mine = users.credentials(connection, session.user.name)
    return page(
        "settings.html.j2", session, status_code=status_code, here=_HERE,
        user=session.user, has_password=mine is not None and mine.password_hash is not None,
        sessions=api_session.own_sessions(services, session), done=done, problem=problem,
    )  # fmt: skip
