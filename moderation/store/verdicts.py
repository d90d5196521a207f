"""Verdicts, written once with the cases that they open; whoever comes second changes nothing."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from moderation.store.cases import NewCase, new_id
from moderation.store.direct import Statement, ask
from moderation.store.outbox import verdicts_recorded
from moderation.types import Verdict
from moderation.verdict import to_document

OpenCase = Callable[[UUID, Verdict], NewCase | None]

# A case is opened with the first verdict of its submission only, and by the same statement. Its
# answer names what is rare: submissions that had a verdict, and those of platforms that are told.
_RECORD = Statement(
    "record",
    """
    WITH given AS (
        SELECT * FROM json_to_recordset($1::json -> 'verdicts') AS given (
            submission_id uuid, outcome text, reason text, detail text, cosine double precision,
            score double precision, threshold double precision, calibration_version text,
            model text, notes text[]
        )
    ), first AS (
        INSERT INTO verdicts (submission_id, outcome, reason, detail, cosine, score, threshold,
                              calibration_version, model, notes)
        SELECT submission_id, outcome, reason, detail, cosine, score, threshold,
               calibration_version, model, notes
        -- One order for all writers, so that two batches cannot deadlock.
        FROM given ORDER BY submission_id
        ON CONFLICT DO NOTHING
        RETURNING submission_id
    ), opened AS (
        INSERT INTO cases (id, submission_id, policy, route, inclusion_probability, due_at, blind,
                           answers_wanted, copy_problem, copy_attempts)
        SELECT case_id, submission_id,
               (SELECT policy FROM submissions WHERE submissions.id = submission_id), route,
               inclusion_probability, now() + due_in_s * interval '1 s', blind,
               answers_wanted, copy_problem, copy_attempts
        FROM json_to_recordset($1::json -> 'cases') AS asked (
            case_id uuid, submission_id uuid, route text, inclusion_probability double precision,
            due_in_s double precision, blind boolean, answers_wanted smallint,
            copy_problem text, copy_attempts smallint
        )
        JOIN first USING (submission_id)
    ), done AS (
        UPDATE submissions SET done_at = now(), lease_worker = NULL, retry_at = NULL
        WHERE id = ANY(ARRAY(SELECT submission_id FROM first))
        RETURNING id, platform
    )
    SELECT json_build_object(
        'late', (SELECT json_agg(submission_id) FROM given
                 WHERE submission_id NOT IN (SELECT submission_id FROM first)),
        'awaited', (SELECT json_agg(id) FROM done WHERE platform IN (
            SELECT platform FROM webhook_endpoints WHERE disabled_at IS NULL
        ))
    )
    """,
)


def record(
    connection: Connection, batch: Sequence[tuple[UUID, Verdict]], open_case: OpenCase
) -> set[UUID]:
    """Store a batch's verdicts and open their cases; the ids whose verdict was the first.

    In one statement: what has a verdict has its case. `open_case` says which, if any. Of two
    verdicts on a submission the first holds. Platforms that have a webhook are told in the same
    transaction.
    """
    by_id = dict(reversed(batch))
    answer = ask(
        connection,
        _RECORD,
        {
            "verdicts": [to_document(v) | {"submission_id": id_} for id_, v in by_id.items()],
            "cases": [_row(case) for pair in by_id.items() if (case := open_case(*pair))],
        },
    )
    if answer["awaited"]:
        verdicts_recorded(connection, [UUID(id_) for id_ in answer["awaited"]])
    return set(by_id).difference(UUID(id_) for id_ in answer["late"] or ())


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
