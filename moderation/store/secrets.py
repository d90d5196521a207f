"""Secrets of this installation: made once by whoever comes first, the same for all processes."""

import secrets
from enum import StrEnum

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from moderation.draws import Draws
from moderation.store.review_tables import secrets as table

_BYTES = 32


class Name(StrEnum):
    """What a secret is for."""

    DRAWS = "draws"


def draws(connection: Connection) -> Draws:
    """The draws by lot of this installation."""
    return Draws(secret(connection, Name.DRAWS))


def secret(connection: Connection, name: Name) -> bytes:
    """The secret of that name; makes it where there is none yet. Never log it."""
    query = select(table.c.value).where(table.c.name == name.value)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        # Whoever is second waits for the first to commit, and then reads what that one made.
        connection.execute(
            insert(table)
            .values(name=name.value, value=secrets.token_bytes(_BYTES))
            .on_conflict_do_nothing()
        )
        found = connection.execute(query).scalar_one()
    return bytes(found)
