"""Deliveries: an event's way to one endpoint, tried until it is taken or given up.

A try begins by taking the delivery: its next due time is then the lease's end, so what a killed
scheduler had in hand is due again by itself, and `attempts` tells a late answer from the newest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, text

from moderation.store.review_tables import webhook_deliveries, webhook_endpoints, webhook_events


class State(StrEnum):
    """Where a delivery stands; `cancelled` is what was undone, or whose endpoint was removed."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery to be tried now; `attempt` counts from 1, this one included."""

    id: UUID
    attempt: int
    endpoint_id: UUID
    event_id: UUID
    body: str
    url: str
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a try: taken, to be tried again after `wait`, or given up without one."""

    id: UUID
    attempt: int
    status: int | None
    problem: str | None
    wait: timedelta | None

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint took it."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as people see it."""

    id: UUID
    event_id: UUID
    kind: str
    submission_id: UUID
    endpoint_id: UUID
    platform: str
    state: State
    attempts: int
    due_at: datetime
    last_status: int | None
    last_problem: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has not been delivered; `overdue_s` is how late the latest try is."""

    pending: int
    oldest_s: float
    overdue_s: float


# Endpoint by endpoint, so that none has to pass by what waits for another.
_TAKE = text(
    """
    WITH room AS (
        SELECT endpoints.id, least(:each, coalesce(given.room, :each)) AS room
        FROM webhook_endpoints AS endpoints
        LEFT JOIN unnest(CAST(:endpoints AS uuid[]), CAST(:rooms AS integer[]))
            AS given (id, room) ON given.id = endpoints.id
        WHERE disabled_at IS NULL
    ), due AS MATERIALIZED (
        SELECT next.id FROM room CROSS JOIN LATERAL (
            SELECT id, due_at FROM webhook_deliveries
            WHERE endpoint_id = room.id AND state = 'pending' AND due_at <= now()
            ORDER BY due_at LIMIT room.room FOR UPDATE SKIP LOCKED
        ) AS next
        ORDER BY next.due_at LIMIT :most
    )
    UPDATE webhook_deliveries AS deliveries
    SET attempts = attempts + 1, due_at = now() + :lease
    FROM due, webhook_events AS events, webhook_endpoints AS endpoints
    WHERE deliveries.id = due.id AND events.id = deliveries.event_id
        AND endpoints.id = deliveries.endpoint_id
    RETURNING deliveries.id, deliveries.attempts, endpoints.id AS endpoint_id,
        events.id AS event_id, CAST(events.body AS text) AS body, endpoints.url,
        endpoints.secret,
        CASE WHEN endpoints.previous_until > now() THEN endpoints.previous_secret END AS previous
    """
)

# A late answer that it was taken counts whatever came after; a late failure says nothing new.
_SETTLE = text(
    """
    UPDATE webhook_deliveries AS deliveries
    SET state = CASE WHEN given.problem IS NULL THEN 'delivered'
                     WHEN given.wait IS NULL THEN 'failed' ELSE 'pending' END,
        ended_at = CASE WHEN given.problem IS NULL OR given.wait IS NULL THEN now() END,
        due_at = now() + coalesce(given.wait, interval '0'),
        last_status = given.status, last_problem = given.problem
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:attempt AS integer[]), CAST(:status AS integer[]),
        CAST(:problem AS text[]), CAST(:wait AS interval[])
    ) AS given (id, attempt, status, problem, wait)
    WHERE deliveries.id = given.id AND (
        given.problem IS NULL AND deliveries.state IN ('pending', 'failed')
        OR deliveries.attempts = given.attempt AND deliveries.state = 'pending'
    )
    """
)

_FAIL_DISABLED = text(
    """
    UPDATE webhook_deliveries AS deliveries
    SET state = 'failed', ended_at = now(), last_problem = 'the endpoint is disabled'
    FROM webhook_endpoints AS endpoints
    WHERE endpoints.id = deliveries.endpoint_id AND state = 'pending'
        AND disabled_at IS NOT NULL AND disabled_why <> 'removed'
    """
)
_CANCEL_REMOVED = text(
    """
    UPDATE webhook_deliveries AS deliveries
    SET state = 'cancelled', ended_at = now(), last_problem = 'the endpoint is removed'
    FROM webhook_endpoints AS endpoints
    WHERE endpoints.id = deliveries.endpoint_id AND state IN ('pending', 'failed')
        AND disabled_why = 'removed'
    """
)

_WAITING = text(
    """
    SELECT count(*),
        coalesce(extract(epoch FROM now() - min(deliveries.created_at)), 0),
        coalesce(extract(epoch FROM greatest(now() - min(due_at), interval '0')), 0)
    FROM webhook_deliveries AS deliveries
    JOIN webhook_endpoints AS endpoints ON endpoints.id = endpoint_id
    WHERE state = 'pending' AND disabled_at IS NULL
    """
)

# What was never tried keeps its time: a decision within its undo time is not to leave earlier.
_REPLAY = """
    UPDATE webhook_deliveries AS deliveries
    SET state = 'pending', ended_at = NULL, last_problem = NULL, last_status = NULL, attempts = 0,
        due_at = CASE WHEN attempts = 0 THEN greatest(due_at, now()) ELSE now() END
    FROM webhook_endpoints AS endpoints
    WHERE endpoints.id = deliveries.endpoint_id AND disabled_at IS NULL
"""
_REPLAY_ONE = text(f"{_REPLAY} AND deliveries.id = :id AND state IN ('delivered', 'failed')")
_REPLAY_FAILED = text(f"{_REPLAY} AND state = 'failed' AND deliveries.ended_at >= now() - :span")


def take(
    connection: Connection, *, most: int, each: int, rooms: Mapping[UUID, int], lease: timedelta
) -> list[Taken]:
    """Begin a try of what is due: at most `most`, and `each` for an endpoint or its `rooms`.

    Several schedulers share; what is not settled within the lease is due again.
    """
    rows = connection.execute(
        _TAKE,
        {
            "most": most,
            "each": each,
            "endpoints": list(rooms),
            "rooms": list(rooms.values()),
            "lease": lease,
        },
    )
    return [
        Taken(
            row.id,
            row.attempts,
            row.endpoint_id,
            row.event_id,
            row.body,
            row.url,
            [secret for secret in (row.secret, row.previous) if secret is not None],
        )
        for row in rows
    ]


def settle(connection: Connection, tries: Sequence[Tried]) -> None:
    """Note what became of tries."""
    # One order for all schedulers, so that two cannot deadlock.
    ordered = sorted(tries, key=lambda tried: tried.id)
    connection.execute(
        _SETTLE,
        {
            name: [getattr(tried, name) for tried in ordered]
            for name in ("id", "attempt", "status", "problem", "wait")
        },
    )


def end_disabled(connection: Connection) -> int:
    """Fail what waits for disabled endpoints, and cancel what is left of removed ones.

    How many failed by that.
    """
    connection.execute(_CANCEL_REMOVED)
    return connection.execute(_FAIL_DISABLED).rowcount


def waiting(connection: Connection) -> Waiting:
    """How much waits, and for how long."""
    pending, oldest_s, overdue_s = connection.execute(_WAITING).one()
    return Waiting(pending, float(oldest_s), float(overdue_s))


def replay(connection: Connection, delivery_id: UUID) -> bool:
    """Send one again from its first try; False unless it was delivered or failed.

    Also False where its endpoint is disabled.
    """
    return connection.execute(_REPLAY_ONE, {"id": delivery_id}).rowcount == 1


def replay_failed(connection: Connection, span: timedelta) -> int:
    """Send again what was given up within the last `span`; how many those are."""
    return connection.execute(_REPLAY_FAILED, {"span": span}).rowcount


def latest(connection: Connection, *, state: State | None, at_most: int) -> list[Delivery]:
    """The newest deliveries, of one state if given."""
    table, events, endpoints = webhook_deliveries, webhook_events, webhook_endpoints
    query = (
        select(table, events.c.kind, events.c.submission_id, endpoints.c.platform)
        .join(events, events.c.id == table.c.event_id)
        .join(endpoints, endpoints.c.id == table.c.endpoint_id)
        .order_by(table.c.id.desc())
        .limit(at_most)
    )
    if state is not None:
        # Written out, so that the planner knows which partial index it may use.
        query = query.where(table.c.state == bindparam("state", state.value, literal_execute=True))
    rows = connection.execute(query).mappings()
    return [Delivery(**{**row, "state": State(row["state"])}) for row in rows]
