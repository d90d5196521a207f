"""The people of the desk and what each may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert

from moderation.store.review_tables import users


class Role(StrEnum):
    """What a person may do; each role may do what those before it may."""

    MODERATOR = "moderator"
    LEAD = "lead"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        """Whether this role suffices where `needed` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account; `blur` and `grey` are how they want to see images at first."""

    name: str
    role: Role
    blur: bool
    grey: bool
    created_at: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """The person of a row of `users`."""
        return cls(
            name=row["name"],
            role=Role(row["role"]),
            blur=row["blur"],
            grey=row["grey"],
            created_at=row["created_at"],
            disabled_at=row["disabled_at"],
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """How somebody proves who they are: by a password, by single sign-on, by both or neither."""

    user: User
    password_hash: str | None
    oidc_subject: str | None


def add(
    connection: Connection,
    name: str,
    role: Role,
    *,
    password_hash: str | None,
    oidc_subject: str | None = None,
) -> bool:
    """Make an account; False if there is one of that name or that subject already."""
    made = connection.execute(
        insert(users)
        .values(name=name, role=role.value, password_hash=password_hash, oidc_subject=oidc_subject)
        .on_conflict_do_nothing()
        .returning(users.c.name)
    )
    return made.scalar_one_or_none() is not None


def find(connection: Connection, name: str) -> User | None:
    """The person of that name, also if disabled."""
    row = connection.execute(select(users).where(users.c.name == name)).mappings().one_or_none()
    return None if row is None else User.of(row)


def list_all(connection: Connection) -> list[Credentials]:
    """Everybody, also the disabled, by name."""
    rows = connection.execute(select(users).order_by(users.c.name)).mappings()
    return [_credentials(row) for row in rows]


def credentials(connection: Connection, name: str, *, lock: bool = False) -> Credentials | None:
    """How the person of that name signs in; `lock` keeps it so until the transaction's end."""
    query = select(users).where(users.c.name == name)
    if lock:
        # Not of the key: whoever claims or decides meanwhile refers to it and need not wait.
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _credentials(row)


def find_by_subject(connection: Connection, oidc_subject: str) -> User | None:
    """Who signed in with that issuer and subject before, also if disabled since."""
    row = (
        connection.execute(select(users).where(users.c.oidc_subject == oidc_subject))
        .mappings()
        .one_or_none()
    )
    return None if row is None else User.of(row)


def lock_admins(connection: Connection) -> list[str]:
    """The names of the admins who can sign in, none of whom changes until the transaction ends."""
    return list(
        connection.execute(
            select(users.c.name)
            .where(users.c.role == Role.ADMIN.value, users.c.disabled_at.is_(None))
            .order_by(users.c.name)
            .with_for_update(key_share=True)
        ).scalars()
    )


def set_password_hash(connection: Connection, name: str, password_hash: str) -> None:
    """Replace the password."""
    _set(connection, name, password_hash=password_hash)


def set_role(connection: Connection, name: str, role: Role) -> None:
    """Let somebody do more or less."""
    _set(connection, name, role=role.value)


def set_disabled(connection: Connection, name: str, *, disabled: bool) -> None:
    """Keep somebody out, or let them in again."""
    _set(connection, name, disabled_at=func.now() if disabled else None)


def set_preferences(connection: Connection, name: str, *, blur: bool, grey: bool) -> None:
    """How somebody wants to see images at first."""
    _set(connection, name, blur=blur, grey=grey)


def set_subject(connection: Connection, name: str, oidc_subject: str) -> None:
    """Tie an account to whom the single sign-on says it belongs."""
    _set(connection, name, oidc_subject=oidc_subject)


def _set(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(users).where(users.c.name == name).values(**values))


def _credentials(row: RowMapping) -> Credentials:
    return Credentials(User.of(row), row["password_hash"], row["oidc_subject"])
