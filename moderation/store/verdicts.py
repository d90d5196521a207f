"""Verdicts, written once with the cases that they open; whoever comes second changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from moderation.store.cases import NewCase, new_id
from moderation.store.outbox import verdicts_recorded
from moderation.types import Verdict
from moderation.verdict import to_document

OpenCase = Callable[[UUID, Verdict], NewCase | None]

# Arrays, a column each: building a row of parameters for each verdict took longer than storing it.
# A case is opened with the first verdict of its submission only, and by the same statement.
_RECORD = """
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
    ){more}
    UPDATE submissions SET done_at = now(), lease_worker = NULL, retry_at = NULL
    FROM first WHERE submissions.id = first.submission_id
    RETURNING submissions.id, submissions.platform IN (
        SELECT platform FROM webhook_endpoints WHERE disabled_at IS NULL
    ) AS is_awaited
"""
_CASES = """, opened AS (
        INSERT INTO cases (id, submission_id, policy, route, inclusion_probability, due_at, blind,
                           answers_wanted, copy_problem, copy_attempts)
        SELECT case_id, submission_id, policy, route, inclusion_probability,
               now() + due_in_s * interval '1 s', blind,
               answers_wanted, copy_problem, copy_attempts
        FROM unnest(
            CAST(:case_id AS uuid[]), CAST(:case_submission_id AS uuid[]), CAST(:route AS text[]),
            CAST(:inclusion_probability AS double precision[]),
            CAST(:due_in_s AS double precision[]), CAST(:blind AS boolean[]),
            CAST(:answers_wanted AS smallint[]), CAST(:copy_problem AS text[]),
            CAST(:copy_attempts AS smallint[])
        ) AS asked (case_id, submission_id, route, inclusion_probability, due_in_s, blind,
                    answers_wanted, copy_problem, copy_attempts)
        JOIN first USING (submission_id)
        JOIN submissions ON submissions.id = submission_id
    )"""
_WITHOUT_CASES = text(_RECORD.format(more=""))
_WITH_CASES = text(_RECORD.format(more=_CASES))


def record(
    connection: Connection, batch: Sequence[tuple[UUID, Verdict]], open_case: OpenCase
) -> set[UUID]:
    """Store a batch's verdicts and open their cases; the ids whose verdict was the first.

    In one statement: what has a verdict has its case. `open_case` says which, if any. Of two
    verdicts on a submission the first holds. Platforms that have a webhook are told in the same
    transaction.
    """
    # One order for all writers, so that two batches cannot deadlock.
    ordered = sorted(dict(reversed(batch)).items(), key=lambda pair: pair[0])
    documents = [to_document(verdict) for _, verdict in ordered]
    columns = {name: [document[name] for document in documents] for name in documents[0]}
    columns["submission_id"] = [id_ for id_, _ in ordered]
    columns["notes"] = [" ".join(notes) for notes in columns["notes"]]
    cases = [case for pair in ordered if (case := open_case(*pair)) is not None]
    if not cases:
        return _execute(connection, _WITHOUT_CASES, columns)
    columns["case_id"] = [new_id(blind=case.blind) for case in cases]
    columns["case_submission_id"] = [case.submission_id for case in cases]
    columns["route"] = [case.route.value for case in cases]
    columns["inclusion_probability"] = [case.inclusion_probability for case in cases]
    columns["due_in_s"] = [case.due_in.total_seconds() for case in cases]
    columns["blind"] = [case.blind for case in cases]
    columns["answers_wanted"] = [case.answers_wanted for case in cases]
    columns["copy_problem"] = [case.copy_problem for case in cases]
    columns["copy_attempts"] = [case.copy_attempts for case in cases]
    return _execute(connection, _WITH_CASES, columns)


def _execute(
    connection: Connection, statement: TextClause, columns: Mapping[str, Any]
) -> set[UUID]:
    rows = connection.execute(statement, columns).all()
    awaited = [row.id for row in rows if row.is_awaited]
    if awaited:
        verdicts_recorded(connection, awaited)
    return {row.id for row in rows}
