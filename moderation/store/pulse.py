"""What a worker says every second, and what it asks then."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from moderation.store import workers
from moderation.store.direct import ask_within
from moderation.store.workers import WorkerInfo

_NEWS = """
    SELECT json_build_array(
        (SELECT max(id) FROM publications),
        (SELECT created_at FROM audit_plans ORDER BY id DESC LIMIT 1),
        (SELECT count(*) FROM workers WHERE beat_at > now() - {lease_s:f} * interval '1 s')
    )
"""


@dataclass(frozen=True, slots=True)
class News:
    """The newest publication's id, when the newest audit plan was made, and how many workers live.

    None where there has never been one.
    """

    publication: int | None
    audit_plan_at: datetime | None
    living_workers: int


def beat_and_ask(
    connection: Connection,
    worker: WorkerInfo,
    holding: Sequence[str],
    *,
    lease_s: float,
    timeout_ms: int,
) -> News:
    """Say that this worker lives and which messages it holds, and ask what is new.

    The connection must be in autocommit: the beat holds whatever becomes of the question. Raises
    `psycopg.errors.QueryCanceled` where a lock keeps the answer for `timeout_ms`, and any other
    `psycopg.Error` where PostgreSQL does not take the beat.
    """
    workers.beat(connection, worker, holding)
    asked = _NEWS.format(lease_s=lease_s)
    publication, planned_at, living = ask_within(connection, asked, timeout_ms=timeout_ms)
    audit_plan_at = datetime.fromisoformat(planned_at) if planned_at else None
    return News(publication, audit_plan_at, living)
