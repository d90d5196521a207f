"""Verdicts: written once; whoever comes second changes nothing."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from moderation.types import Verdict
from moderation.verdict import to_document

# Arrays, a column each: building a row of parameters for each verdict took longer than storing it.
_RECORD = text(
    """
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:submission_id AS uuid[]), CAST(:outcome AS text[]), CAST(:reason AS text[]),
            CAST(:detail AS text[]), CAST(:cosine AS double precision[]),
            CAST(:score AS double precision[]), CAST(:threshold AS double precision[]),
            CAST(:calibration_version AS text[]), CAST(:model AS text[]), CAST(:notes AS text[])
        ) AS given (submission_id, outcome, reason, detail, cosine, score, threshold,
                    calibration_version, model, notes)
    ), first AS (
        INSERT INTO verdicts (submission_id, outcome, reason, detail, cosine, score, threshold,
                              calibration_version, model, notes)
        SELECT submission_id, outcome, reason, detail, cosine, score, threshold,
               calibration_version, model, string_to_array(notes, ' ')
        FROM given ORDER BY submission_id
        ON CONFLICT DO NOTHING
        RETURNING submission_id
    )
    UPDATE submissions SET done_at = now(), lease_worker = NULL, retry_at = NULL
    FROM first WHERE submissions.id = first.submission_id
    RETURNING submissions.id
    """
)


def record(connection: Connection, batch: Sequence[tuple[UUID, Verdict]]) -> set[UUID]:
    """Store a batch's verdicts; the ids of those that were the first of their submission."""
    # One order for all writers, so that two batches cannot deadlock.
    ordered = sorted(batch, key=lambda pair: pair[0])
    documents = [to_document(verdict) for _, verdict in ordered]
    columns = {name: [document[name] for document in documents] for name in documents[0]}
    columns["submission_id"] = [id_ for id_, _ in ordered]
    columns["notes"] = [" ".join(notes) for notes in columns["notes"]]
    return set(connection.execute(_RECORD, columns).scalars())
