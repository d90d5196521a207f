"""Verdicts: written once; whoever comes second changes nothing."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, func, update
from sqlalchemy.dialects.postgresql import insert

from moderation.store.tables import submissions, verdicts
from moderation.types import Verdict
from moderation.verdict import to_document


def record(connection: Connection, batch: Sequence[tuple[UUID, Verdict]]) -> set[UUID]:
    """Store a batch's verdicts; the ids of those that were the first of their submission."""
    # One order for all writers, so that two batches cannot deadlock.
    ordered = sorted(batch, key=lambda pair: pair[0])
    first = set(
        connection.execute(
            insert(verdicts).on_conflict_do_nothing().returning(verdicts.c.submission_id),
            [_row(id_, verdict) for id_, verdict in ordered],
        ).scalars()
    )
    connection.execute(
        update(submissions)
        .where(submissions.c.id.in_(first))
        .values(done_at=func.now(), lease_worker=None, retry_at=None)
    )
    return first


def _row(id_: UUID, verdict: Verdict) -> dict[str, object]:
    return {"submission_id": id_, **to_document(verdict)}
