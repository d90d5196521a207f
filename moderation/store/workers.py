"""Workers and their beats: one beat renews all of a worker's leases at once."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, func, select

from moderation.store.direct import Statement, ask
from moderation.store.tables import workers


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Who a worker is, what it runs, and the last publication that it acts on."""

    id: UUID
    host: str
    pid: int
    model: str
    calibration_version: str
    publication: int | None
    metrics_url: str | None

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return asdict(self) | {"id": str(self.id)}


_BEAT = Statement(
    "beat",
    """
    INSERT INTO workers (id, host, pid, model, metrics_url, calibration_version, publication,
                         holding)
    SELECT id, host, pid, model, metrics_url, calibration_version, publication, holding
    FROM json_to_record($1::json -> 'worker') AS worker (
        id uuid, host text, pid integer, model text, metrics_url text, calibration_version text,
        publication bigint
    ), json_to_record($1::json) AS held (holding text[])
    ON CONFLICT (id) DO UPDATE SET beat_at = now(), holding = excluded.holding,
        calibration_version = excluded.calibration_version, publication = excluded.publication
    """,
)


def beat(connection: Connection, worker: WorkerInfo, holding: Sequence[str]) -> None:
    """Say that this worker lives and which messages it has taken and not finished.

    Raises `psycopg.Error`.
    """
    ask(connection, _BEAT, {"worker": worker, "holding": holding})


def leave(connection: Connection, worker: UUID) -> None:
    """Give up all leases of a worker that stops in good order."""
    connection.execute(delete(workers).where(workers.c.id == worker))


def living(connection: Connection, *, lease_s: float) -> list[WorkerInfo]:
    """The workers whose last beat is younger than a lease."""
    query = select(workers).where(_is_living(lease_s)).order_by(workers.c.started_at)
    rows = connection.execute(query)
    return [
        WorkerInfo(
            id=row.id,
            host=row.host,
            pid=row.pid,
            model=row.model,
            calibration_version=row.calibration_version,
            publication=row.publication,
            metrics_url=row.metrics_url,
        )
        for row in rows
    ]


def held(connection: Connection, *, lease_s: float) -> set[str]:
    """The ids of the messages that living workers hold."""
    rows = connection.execute(select(func.unnest(workers.c.holding)).where(_is_living(lease_s)))
    return set(rows.scalars())


def forget(connection: Connection, *, silent_s: float) -> int:
    """Drop workers silent for so long; their leases are as dead as they are."""
    return connection.execute(
        delete(workers).where(workers.c.beat_at < func.now() - dt.timedelta(seconds=silent_s))
    ).rowcount


def _is_living(lease_s: float) -> ColumnElement[bool]:
    return workers.c.beat_at > func.now() - dt.timedelta(seconds=lease_s)
