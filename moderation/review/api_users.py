"""`/v1/review/users`: the people of the desk, read by leads and changed by admins."""

from datetime import datetime
from typing import Any, Self

from fastapi import APIRouter, HTTPException
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from moderation.api.auth import ServicesDep
from moderation.errors import InputRefused, ServiceUnavailable
from moderation.review import accounts
from moderation.review.accounts import NAME_RULE, AccountExists, NoSuchAccount, WouldLockOut
from moderation.review.auth import ActorDep, AdminDep, LeadDep
from moderation.review.login import SignInDep
from moderation.store import users
from moderation.store.audit import Actor
from moderation.store.users import Credentials, Role
from moderation.wiring import Services

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "nobody is signed in"},
    403: {"description": "this needs another role, or the form is of another site or session"},
    404: {"description": "there is no account of that name"},
    409: {"description": "the name is taken, or afterwards no admin could sign in"},
    422: {"description": "the name or the password will not do"},
    503: {"description": "too many passwords are looked at; try again in a moment"},
}

router = APIRouter(prefix="/v1/review/users", tags=["desk: accounts"], responses=_REFUSALS)


class UserOut(BaseModel):
    """A person of the desk."""

    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    has_password: bool
    has_single_sign_on: bool = Field(description="has signed in so at least once")

    @classmethod
    def of(cls, found: Credentials) -> Self:
        """The document of an account."""
        return cls(
            name=found.user.name,
            role=found.user.role,
            created_at=found.user.created_at,
            disabled_at=found.user.disabled_at,
            has_password=found.password_hash is not None,
            has_single_sign_on=found.oidc_subject is not None,
        )


class UserIn(BaseModel):
    """A new account."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description=NAME_RULE)
    role: Role
    password: str | None = Field(
        None, description="12 to 1024 characters; without one, single sign-on or tokens only"
    )


class UserChange(BaseModel):
    """What is to be different; what is left out stays. Each change ends the person's sessions."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = None
    password: str | None = None


@router.get("")
def list_users(services: ServicesDep, session: LeadDep) -> list[UserOut]:
    """Everybody, also the disabled, by name."""
    with services.database.connect() as connection:
        return [UserOut.of(found) for found in users.list_all(connection)]


@router.post("", status_code=201)
async def add_user(
    body: UserIn, services: ServicesDep, session: AdminDep, actor: ActorDep, sign_in: SignInDep
) -> UserOut:
    """Make an account."""
    try:
        accounts.check_name(body.name)
        password_hash = None
        if body.password is not None:
            password_hash = await sign_in.hash_password(body.password, name=body.name)
        return await run_in_threadpool(
            add, services, actor, body.name, body.role, password_hash=password_hash
        )
    except (InputRefused, ServiceUnavailable) as error:
        raise refusal(error) from error


@router.patch("/{name}")
async def change_user(
    name: str,
    body: UserChange,
    services: ServicesDep,
    session: AdminDep,
    actor: ActorDep,
    sign_in: SignInDep,
) -> UserOut:
    """Change a role, set a password, keep somebody out or let them in again."""
    try:
        password_hash = None
        if body.password is not None:
            password_hash = await sign_in.hash_password(body.password, name=name)
        return await run_in_threadpool(
            change, services, actor, name,
            role=body.role, disabled=body.disabled, password_hash=password_hash,
        )  # fmt: skip
    except (InputRefused, ServiceUnavailable) as error:
        raise refusal(error) from error


def add(
    services: Services, actor: Actor, name: str, role: Role, *, password_hash: str | None
) -> UserOut:
    """Make an account, as an admin at the desk."""
    with services.database.begin() as connection:
        accounts.check_is_admin(connection, actor.name)
        accounts.add(connection, actor, name, role, password_hash=password_hash)
        return UserOut.of(accounts.existing(connection, name))


def change(
    services: Services,
    actor: Actor,
    name: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
    password_hash: str | None = None,
) -> UserOut:
    """Change an account, as an admin at the desk: all of it or nothing."""
    with services.database.begin() as connection:
        accounts.check_is_admin(connection, actor.name)
        accounts.existing(connection, name)
        if disabled or role not in (None, Role.ADMIN):
            accounts.check_not_own(name, asks=actor.name)
        if role is not None:
            accounts.set_role(connection, actor, name, role)
        if disabled is not None:
            accounts.set_disabled(connection, actor, name, disabled=disabled)
        if password_hash is not None:
            accounts.check_not_own(name, asks=actor.name)
            accounts.set_password(connection, actor, name, password_hash)
        return UserOut.of(accounts.existing(connection, name))


def refusal(error: InputRefused | ServiceUnavailable) -> HTTPException:
    """How HTTP says that an account was not made or changed."""
    statuses = {
        NoSuchAccount: 404, AccountExists: 409, WouldLockOut: 409, ServiceUnavailable: 503,
    }  # fmt: skip
    return HTTPException(statuses.get(type(error), 422), str(error))
