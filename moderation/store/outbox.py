"""What platforms are to be told: events, written in the transaction of what they tell of.

Each endpoint of a platform gets a delivery of its own. Where a platform has no endpoint,
nothing is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text
from uuid_utils.compat import uuid7

from moderation.store.outcome import CASES_TOLD, told_decision

VERDICT_CREATED = "verdict.created"
DECISION_CREATED = "decision.created"

_VERDICTS = text(
    """
    SELECT submissions.id, submissions.platform, submissions.external_id, submissions.policy,
           verdicts.outcome, verdicts.reason, verdicts.detail, verdicts.cosine, verdicts.score,
           verdicts.threshold, verdicts.calibration_version, verdicts.model, verdicts.notes,
           verdicts.created_at
    FROM submissions JOIN verdicts ON verdicts.submission_id = submissions.id
    WHERE submissions.id = ANY(:ids)
    """
)
_OF_A_VERDICT = (
    "outcome", "reason", "detail", "cosine", "score", "threshold", "calibration_version",
    "model", "notes",
)  # fmt: skip

_DECISIONS = text(
    f"""
    {CASES_TOLD} AND cases.id = ANY(:case_ids) AND cases.state = 'resolved'
        AND submissions.platform IN (SELECT platform FROM webhook_endpoints
                                     WHERE disabled_at IS NULL)
    """  # noqa: S608 - our own text
)

_EVENTS = text(
    """
    INSERT INTO webhook_events (id, platform, kind, submission_id, case_id, body)
    SELECT id, platform, kind, submission_id, case_id, CAST(body AS json)
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:platform AS text[]), CAST(:kind AS text[]),
        CAST(:submission_id AS uuid[]), CAST(:case_id AS uuid[]), CAST(:body AS text[])
    ) AS given (id, platform, kind, submission_id, case_id, body)
    """
)
_ENDPOINTS = text(
    "SELECT id, platform FROM webhook_endpoints "
    "WHERE platform = ANY(:platforms) AND disabled_at IS NULL ORDER BY id"
)
_DELIVERIES = text(
    """
    INSERT INTO webhook_deliveries (id, event_id, endpoint_id, due_at)
    SELECT id, event_id, endpoint_id, now() + :not_before
    FROM unnest(
        CAST(:id AS uuid[]), CAST(:event_id AS uuid[]), CAST(:endpoint_id AS uuid[])
    ) AS given (id, event_id, endpoint_id)
    """
)

# Locked, in one order: no scheduler begins a try of one meanwhile.
_OF_A_CASE = text(
    """
    SELECT deliveries.id, deliveries.attempts FROM webhook_deliveries AS deliveries
    JOIN webhook_events AS events ON events.id = deliveries.event_id
    WHERE events.case_id = :case_id AND deliveries.state <> 'cancelled'
    ORDER BY deliveries.id FOR UPDATE OF deliveries
    """
)
_CANCEL = text(
    "UPDATE webhook_deliveries SET state = 'cancelled', ended_at = now() WHERE id = ANY(:ids)"
)


@dataclass(frozen=True, slots=True)
class _Event:
    """One event as it is stored; `body` is what is signed and sent, to the byte."""

    id: UUID
    platform: str
    kind: str
    submission_id: UUID
    case_id: UUID | None
    body: str


def verdicts_recorded(connection: Connection, ids: Sequence[UUID]) -> None:
    """Tell the platforms of these submissions' verdicts, which this transaction has stored."""
    rows = connection.execute(_VERDICTS, {"ids": list(ids)}).mappings()
    _put(connection, [_verdict_event(row) for row in rows], timedelta(0))


def decisions_resolved(
    connection: Connection, case_ids: Sequence[UUID], *, not_before: timedelta
) -> None:
    """Tell the platforms what was decided on these cases, once `not_before` is over.

    Called in the transaction that resolves them, after its rows are written.
    """
    if not case_ids:
        return
    rows = connection.execute(_DECISIONS, {"case_ids": list(case_ids)}).mappings()
    _put(connection, [_decision_event(row) for row in rows], not_before)


def cancel_decision(connection: Connection, case_id: UUID) -> bool:
    """Keep what was decided on a case in the house, in the transaction that undoes it.

    False, and nothing changed, if the platform may know it already.
    """
    found = connection.execute(_OF_A_CASE, {"case_id": case_id}).all()
    if any(delivery.attempts for delivery in found):
        return False
    if found:
        connection.execute(_CANCEL, {"ids": [delivery.id for delivery in found]})
    return True


def _verdict_event(row: RowMapping) -> _Event:
    verdict = {name: row[name] for name in _OF_A_VERDICT}
    verdict["decided_at"] = _time(row["created_at"])
    return _event(row, VERDICT_CREATED, row["created_at"], {"verdict": verdict})


def _decision_event(row: RowMapping) -> _Event:
    said = told_decision(row)
    decision = {
        "answer": said.answer.value,
        "reason": said.reason,
        "decided_at": _time(said.decided_at),
        "overturns_verdict": said.overturns_verdict,
        "appeal": said.appeal and {"id": str(said.appeal.id), "outcome": said.appeal.outcome},
    }
    return _event(row, DECISION_CREATED, row["resolved_at"], {"decision": decision}, row["case_id"])


def _event(
    row: RowMapping,
    kind: str,
    at: datetime,
    what: Mapping[str, Any],
    case_id: UUID | None = None,
) -> _Event:
    document = {
        "type": kind,
        "timestamp": _time(at),
        "data": {
            "submission_id": str(row["id"]),
            "external_id": row["external_id"],
            "policy": row["policy"],
            **what,
        },
    }
    # In ASCII, so that no proxy on the way can change the bytes that are signed.
    return _Event(uuid7(), row["platform"], kind, row["id"], case_id, json.dumps(document))


def _put(connection: Connection, events: Sequence[_Event], not_before: timedelta) -> None:
    if not events:
        return
    listening: dict[str, list[UUID]] = {}
    platforms = sorted({event.platform for event in events})
    for row in connection.execute(_ENDPOINTS, {"platforms": platforms}):
        listening.setdefault(row.platform, []).append(row.id)
    heard = [event for event in events if event.platform in listening]
    if not heard:
        return
    connection.execute(
        _EVENTS,
        {name: [getattr(event, name) for event in heard] for name in _Event.__slots__},
    )
    pairs = [(event.id, endpoint) for event in heard for endpoint in listening[event.platform]]
    connection.execute(
        _DELIVERIES,
        {
            "id": [uuid7() for _ in pairs],
            "event_id": [event for event, _ in pairs],
            "endpoint_id": [endpoint for _, endpoint in pairs],
            "not_before": not_before,
        },
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
