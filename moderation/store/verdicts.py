"""Verdicts, written once with the cases that they open; whoever comes second changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, TextClause, text

from moderation.store.cases import NewCase, new_id
from moderation.store.outbox import verdicts_recorded
from moderation.types import Verdict
from moderation.verdict import to_document

OpenCase = Callable[[UUID, Verdict], NewCase | None]

# As JSON: built in one call, where a parameter or an array for each column takes Python longer
# than storing them takes PostgreSQL.
# A case is opened with the first verdict of its submission only, and by the same statement.
_RECORD = """
    WITH given AS (
        SELECT * FROM json_to_recordset(CAST(:verdicts AS json)) AS given (
            submission_id uuid, outcome text, reason text, detail text, cosine double precision,
            score double precision, threshold double precision, calibration_version text,
            model text, notes text[]
        )
    ), first AS (
        INSERT INTO verdicts (submission_id, outcome, reason, detail, cosine, score, threshold,
                              calibration_version, model, notes)
        SELECT submission_id, outcome, reason, detail, cosine, score, threshold,
               calibration_version, model, notes
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
        FROM json_to_recordset(CAST(:cases AS json)) AS asked (
            case_id uuid, submission_id uuid, route text, inclusion_probability double precision,
            due_in_s double precision, blind boolean, answers_wanted smallint,
            copy_problem text, copy_attempts smallint
        )
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
    verdicts = [to_document(verdict) | {"submission_id": id_} for id_, verdict in ordered]
    cases = [_row(case) for pair in ordered if (case := open_case(*pair)) is not None]
    if not cases:
        return _execute(connection, _WITHOUT_CASES, verdicts=_json(verdicts))
    return _execute(connection, _WITH_CASES, verdicts=_json(verdicts), cases=_json(cases))


def _row(case: NewCase) -> dict[str, Any]:
    return {
        "case_id": new_id(blind=case.blind),
        "submission_id": case.submission_id,
        "route": case.route.value,
        "inclusion_probability": case.inclusion_probability,
        "due_in_s": case.due_in.total_seconds(),
        "blind": case.blind,
        "answers_wanted": case.answers_wanted,
        "copy_problem": case.copy_problem,
        "copy_attempts": case.copy_attempts,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    # Scores of a simulated year, or of a month that is judged anew, are numpy's.
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _execute(connection: Connection, statement: TextClause, **documents: str) -> set[UUID]:
    rows = connection.execute(statement, documents).all()
    awaited = [id_ for id_, is_awaited in rows if is_awaited]
    if awaited:
        verdicts_recorded(connection, awaited)
    return {id_ for id_, _ in rows}
