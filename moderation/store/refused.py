"""Messages of platforms that could not be read: kept, with what is wrong."""

import json
from typing import Any

from sqlalchemy import Connection, func, insert, select
from uuid_utils.compat import uuid7

from moderation.store.tables import refused_messages


def keep(connection: Connection, *, message_id: str, problem: str, body: Any) -> None:
    """Keep a refused message as it came; as JSON text in a string where JSONB cannot hold it."""
    connection.execute(
        insert(refused_messages).values(
            id=uuid7(), message_id=message_id, problem=problem, body=_storable(body)
        )
    )


def count(connection: Connection) -> int:
    """How many messages were refused so far."""
    return connection.execute(select(func.count()).select_from(refused_messages)).scalar_one()


def _storable(body: Any) -> Any:
    # Python's JSON knows NaN, U+0000 and halves of surrogate pairs, PostgreSQL's does not.
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return json.dumps(body)
    return json.dumps(body) if "\\u0000" in text else body
