"""`/review/people`: who works here and what they may do, and how much they agree."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review import accounts, api_users
from moderation.review.accounts import NAME_RULE
from moderation.review.api_agreement import agreement_view
from moderation.review.auth import ActorDep, AdminDep, LeadDep
from moderation.review.login import SignInDep
from moderation.review.pages import page
from moderation.review.passwords import new_password
from moderation.store import users
from moderation.store.sessions import Session
from moderation.store.users import Role
from moderation.wiring import Services

router = APIRouter(prefix="/review/people", include_in_schema=False)
_HERE = "/review/people"


@router.get("")
def show_people(services: ServicesDep, session: LeadDep) -> HTMLResponse:
    """Everybody; forms for admins."""
    return _page(services, session)


@router.post("")
async def add(
    services: ServicesDep,
    session: AdminDep,
    actor: ActorDep,
    sign_in: SignInDep,
    name: Annotated[str, Form()] = "",
    role: Annotated[Role, Form()] = Role.MODERATOR,
    elsewhere: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    """Make an account; this answer alone shows its password."""
    name = name.strip()
    password = None if elsewhere else new_password()
    try:
        accounts.check_name(name)
        password_hash = None
        if password is not None:
            password_hash = await sign_in.hash_password(password, name=name)
        await run_in_threadpool(
            api_users.add, services, actor, name, role, password_hash=password_hash
        )
    except (InputRefused, ServiceUnavailable) as error:
        return await run_in_threadpool(
            _page, services, session, problem=error, given={"name": name, "role": role}
        )
    return await run_in_threadpool(_page, services, session, made=(name, password))


@router.post("/{name}")
def change(
    name: str,
    services: ServicesDep,
    session: AdminDep,
    actor: ActorDep,
    role: Annotated[Role | None, Form()] = None,
    disabled: Annotated[bool | None, Form()] = None,
) -> Response:
    """Change a role, keep somebody out, or let them in again."""
    try:
        api_users.change(services, actor, name, role=role, disabled=disabled)
    except InputRefused as error:
        return _page(services, session, problem=error)
    return RedirectResponse(_HERE, status_code=303)


@router.post("/{name}/password")
async def renew_password(
    name: str, services: ServicesDep, session: AdminDep, actor: ActorDep, sign_in: SignInDep
) -> HTMLResponse:
    """Give somebody a new password, which this answer alone shows."""
    password = new_password()
    try:
        password_hash = await sign_in.hash_password(password, name=name)
        await run_in_threadpool(
            api_users.change, services, actor, name, password_hash=password_hash
        )
    except (InputRefused, ServiceUnavailable) as error:
        return await run_in_threadpool(_page, services, session, problem=error)
    return await run_in_threadpool(_page, services, session, made=(name, password))


def _page(
    services: Services,
    session: Session,
    *,
    made: tuple[str, str | None] | None = None,
    problem: InputRefused | ServiceUnavailable | None = None,
    given: dict[str, str] | None = None,
) -> HTMLResponse:
    with services.database.connect() as connection:
        people = users.list_all(connection)
        quality = agreement_view(connection)
    return page(
        "people.html.j2", session, here=_HERE,
        status_code=200 if problem is None else api_users.refusal(problem).status_code,
        people=people, quality=quality, made=made, name_rule=NAME_RULE,
        problem=None if problem is None else str(problem), given=given or {},
        single_sign_on=services.settings.oidc_issuer is not None,
    )  # fmt: skip
