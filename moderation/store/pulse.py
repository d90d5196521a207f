"""What a worker says every second, and what it asks: in one message, answered by one.

Each answer that is waited for wakes a thread between forward passes, which costs more than what
it does then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import psycopg
from sqlalchemy import Connection

from moderation.store.workers import BEAT, WorkerInfo, beat_parameters

# Two transactions: the beat holds whatever becomes of the question.
_PULSE = f"""
    BEGIN;
    {BEAT};
    COMMIT;
    BEGIN;
    SET LOCAL statement_timeout = %(timeout_ms)s;
    SELECT (SELECT max(id) FROM publications),
           (SELECT created_at FROM audit_plans ORDER BY id DESC LIMIT 1),
           (SELECT count(*) FROM workers WHERE beat_at > now() - %(lease_s)s * interval '1 s');
    COMMIT
"""  # noqa: S608 - our own text
_ANSWERS_BEFORE = 5


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

    The connection must be outside a transaction. Raises `psycopg.errors.QueryCanceled` where a
    lock keeps the answer for `timeout_ms`, and any other `psycopg.Error` where PostgreSQL does
    not take the beat; the connection is let go then.
    """
    parameters: dict[str, Any] = beat_parameters(worker, holding)
    parameters |= {"lease_s": lease_s, "timeout_ms": timeout_ms}
    raw = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        # The one kind of cursor that sends many statements with parameters.
        cursor = psycopg.ClientCursor(raw)
        cursor.execute(_PULSE, parameters)
        for _ in range(_ANSWERS_BEFORE):
            cursor.nextset()
        publication, audit_plan_at, living = cursor.fetchall()[0]
    except psycopg.Error:
        connection.invalidate()
        raise
    return News(publication, audit_plan_at, living)
