"""Messages of platforms that could not be read: kept, with what is wrong."""

from typing import Any

from sqlalchemy import Connection, func, insert, select
from uuid_utils.compat import uuid7

from moderation.store.tables import refused_messages


def keep(connection: Connection, *, message_id: str, problem: str, body: Any) -> None:
    """Keep a refused message as it came."""
    connection.execute(
        insert(refused_messages).values(
            id=uuid7(), message_id=message_id, problem=problem, body=body
        )
    )


def count(connection: Connection) -> int:
    """How many messages were refused so far."""
    return connection.execute(select(func.count()).select_from(refused_messages)).scalar_one()
