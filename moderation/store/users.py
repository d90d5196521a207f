"""The people of the desk and what each may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from sqlalchemy import Connection, RowMapping, select
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


def add(connection: Connection, name: str, role: Role, *, password_hash: str | None) -> bool:
    """Make an account; False if there is one of that name already."""
    made = connection.execute(
        insert(users)
        .values(name=name, role=role.value, password_hash=password_hash)
        .on_conflict_do_nothing()
        .returning(users.c.name)
    )
    return made.scalar_one_or_none() is not None


def find(connection: Connection, name: str) -> User | None:
    """The person of that name, also if disabled."""
    row = connection.execute(select(users).where(users.c.name == name)).mappings().one_or_none()
    return None if row is None else User.of(row)
