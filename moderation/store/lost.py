"""Which messages are lost: those that no queue and no living worker has."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Select, func, select, text, update

from moderation.queue import sent_at
from moderation.store.tables import submissions


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A message with submissions that have no verdict and that nobody is known to hold.

    `losses` is how often a worker died with one of its submissions.
    """

    message_id: str
    losses: int


def unheld(
    connection: Connection, *, sent_before: dt.datetime | None, lease_s: float, limit: int
) -> list[Unfinished]:
    """Messages that no living worker holds, sent before the oldest one waiting in Redis.

    Redis hands messages out in order, so what was sent before the oldest waiting message
    has left the queue. `sent_before` is None when nothing waits there.
    """
    rows = connection.execute(
        text(
            """
            SELECT message_id, max(attempts - faults) AS losses
            FROM submissions
            WHERE done_at IS NULL AND retry_at IS NULL
              AND sent_at < coalesce(CAST(:sent_before AS timestamptz), 'infinity')
              AND message_id NOT IN (
                SELECT held FROM workers, unnest(holding) AS held
                WHERE held IS NOT NULL
                  AND beat_at > now() - make_interval(secs => CAST(:lease_s AS double precision))
              )
            GROUP BY message_id
            ORDER BY min(sent_at)
            LIMIT :limit
            """
        ),
        {"sent_before": sent_before, "lease_s": lease_s, "limit": limit},
    )
    return [Unfinished(row.message_id, row.losses) for row in rows]


def take_over(
    connection: Connection, *, lost: Sequence[str], new_message_id: str, limit: int
) -> list[UUID]:
    """Move up to `limit` submissions of lost messages to a new message; their ids.

    What a slow holder of the old message still does is harmless: it can claim nothing
    more, and the first verdict wins.
    """
    return _move(
        connection,
        select(submissions.c.id)
        .where(submissions.c.message_id.in_(lost), submissions.c.done_at.is_(None))
        .where(submissions.c.retry_at.is_(None)),
        new_message_id,
        limit,
    )


def take_due(connection: Connection, *, new_message_id: str, limit: int) -> list[UUID]:
    """Move up to `limit` submissions whose wait after a fault is over to a new message."""
    return _move(
        connection,
        select(submissions.c.id).where(
            submissions.c.retry_at <= func.now(), submissions.c.done_at.is_(None)
        ),
        new_message_id,
        limit,
    )


def _move(
    connection: Connection, chosen: Select[tuple[UUID]], message_id: str, limit: int
) -> list[UUID]:
    rows = chosen.order_by(submissions.c.id).limit(limit).with_for_update(skip_locked=True)
    return list(
        connection.execute(
            update(submissions)
            .where(submissions.c.id.in_(rows.scalar_subquery()))
            .values(
                message_id=message_id,
                sent_at=sent_at(message_id) or func.now(),
                lease_worker=None,
                retry_at=None,
            )
            .returning(submissions.c.id)
        ).scalars()
    )
