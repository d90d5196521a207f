"""Webhook endpoints: where a platform wants to be told, and with which secret.

An endpoint that is disabled keeps its place and can be enabled; one that is removed is only
still there for the deliveries that name it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    case,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from uuid_utils.compat import uuid7

from moderation.errors import InputRefused
from moderation.store.review_tables import webhook_endpoints as table

REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secret, and how many deliveries wait for it or failed."""

    id: UUID
    platform: str
    url: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    previous_until: datetime | None
    pending: int
    failed: int


# Both indices are partial: this reads what waits and what failed, never what was delivered.
_LIST = text(
    """
    SELECT id, platform, url, created_at, disabled_at, disabled_why,
        CASE WHEN previous_until > now() THEN previous_until END AS previous_until,
        (SELECT count(*) FROM webhook_deliveries
         WHERE endpoint_id = endpoints.id AND state = 'pending') AS pending,
        (SELECT count(*) FROM webhook_deliveries
         WHERE endpoint_id = endpoints.id AND state = 'failed') AS failed
    FROM webhook_endpoints AS endpoints
    WHERE disabled_why IS DISTINCT FROM 'removed'
        AND id = coalesce(CAST(:id AS uuid), id)
    ORDER BY platform, id
    """
)


def add(connection: Connection, platform: str, url: str, secret: str) -> UUID:
    """Tell a platform at `url` from now on; raises `InputRefused` where that is so already."""
    there = select(table.c.id).where(
        table.c.platform == platform, table.c.url == url, _not_removed()
    )
    if (known := connection.execute(there).scalar()) is not None:
        raise InputRefused(f"This platform has that URL already, as endpoint {known}.", field="url")
    id_ = uuid7()
    connection.execute(insert(table).values(id=id_, platform=platform, url=url, secret=secret))
    return id_


def list_all(connection: Connection) -> list[Endpoint]:
    """All endpoints that are not removed, by platform."""
    return [Endpoint(*row) for row in connection.execute(_LIST, {"id": None})]


def find(connection: Connection, endpoint_id: UUID) -> Endpoint | None:
    """The endpoint, unless it is removed."""
    row = connection.execute(_LIST, {"id": endpoint_id}).one_or_none()
    return None if row is None else Endpoint(*row)


def secrets_of(connection: Connection, endpoint_id: UUID) -> Sequence[str]:
    """What signs for an endpoint now: its secret and, after a rotation, the one before."""
    row = connection.execute(
        select(
            table.c.secret,
            case((table.c.previous_until > func.now(), table.c.previous_secret)),
        ).where(table.c.id == endpoint_id)
    ).one()
    return [secret for secret in row if secret is not None]


def rotate(connection: Connection, endpoint_id: UUID, secret: str, *, overlap: timedelta) -> bool:
    """Sign with `secret` and, for the overlap, with the one so far; False without the endpoint."""
    return _changes(
        connection,
        update(table)
        .where(table.c.id == endpoint_id, _not_removed())
        .values(secret=secret, previous_secret=table.c.secret, previous_until=func.now() + overlap),
    )


def disable(connection: Connection, endpoint_id: UUID, why: str) -> bool:
    """Send nothing more; False if that is so already."""
    return _changes(
        connection,
        update(table)
        .where(table.c.id == endpoint_id, table.c.disabled_at.is_(None))
        .values(disabled_at=func.now(), disabled_why=why),
    )


def enable(connection: Connection, endpoint_id: UUID) -> bool:
    """Send again what happens from now on; False if it is not disabled, or removed."""
    return _changes(
        connection,
        update(table)
        .where(table.c.id == endpoint_id, table.c.disabled_at.is_not(None), _not_removed())
        .values(disabled_at=None, disabled_why=None),
    )


def remove(connection: Connection, endpoint_id: UUID) -> bool:
    """Forget an endpoint and its secrets; False if it is not there."""
    return _changes(
        connection,
        update(table)
        .where(table.c.id == endpoint_id, _not_removed())
        .values(
            disabled_at=func.coalesce(table.c.disabled_at, func.now()),
            disabled_why=literal(REMOVED),
            secret="",
            previous_secret=None,
        ),
    )


def _not_removed() -> ColumnElement[bool]:
    return table.c.disabled_why.is_distinct_from(REMOVED)


def _changes(connection: Connection, statement: Update) -> bool:
    return connection.execute(statement).rowcount == 1
