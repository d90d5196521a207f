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

VERDICT_CREATED = "verdict.created"
DECISION_CREATED = "decision.created"

# For a statement that stores verdicts: whether a platform listens, at the price of one look
# at a table of a few rows.
LISTENING_PLATFORMS = "SELECT platform FROM webhook_endpoints WHERE disabled_at IS NULL"

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

# Of a golden case nobody is told: its answer was known before. What was said last is the last
# other case's resolution, or else the verdict.
_DECISION = text(
    """
    SELECT submissions.id, submissions.platform, submissions.external_id, submissions.policy,
           cases.resolution AS answer, cases.resolved_at, last.reason, appeals.id AS appeal_id,
           verdicts.outcome, before.resolution AS answer_before
    FROM cases
    JOIN submissions ON submissions.id = cases.submission_id
    LEFT JOIN verdicts ON verdicts.submission_id = cases.submission_id
    LEFT JOIN appeals ON appeals.case_id = cases.id
    LEFT JOIN LATERAL (
        SELECT reason FROM standing_decisions
        WHERE case_id = cases.id AND answer = cases.resolution
        ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS last ON true
    LEFT JOIN LATERAL (
        SELECT resolution FROM cases AS others
        WHERE others.submission_id = cases.submission_id AND others.id <> cases.id
            AND others.route <> 'golden' AND others.resolution IN ('match', 'mismatch')
        ORDER BY resolved_at DESC, id DESC LIMIT 1
    ) AS before ON true
    WHERE cases.id = :case_id AND cases.state = 'resolved' AND cases.route <> 'golden'
        AND submissions.platform IN (SELECT platform FROM webhook_endpoints
                                     WHERE disabled_at IS NULL)
    """
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

# A delivery that failed before its first try, as its endpoint was disabled, could be replayed.
_CANCEL = text(
    """
    UPDATE webhook_deliveries SET state = 'cancelled', ended_at = now()
    FROM webhook_events AS events
    WHERE events.id = event_id AND events.case_id = :case_id
        AND state IN ('pending', 'failed') AND attempts = 0
    """
)
_LEFT = text(
    """
    SELECT EXISTS (
        SELECT FROM webhook_deliveries JOIN webhook_events AS events ON events.id = event_id
        WHERE events.case_id = :case_id AND state <> 'cancelled'
    )
    """
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


def decision_resolved(connection: Connection, case_id: UUID, *, not_before: timedelta) -> None:
    """Tell the platform what was decided, once `not_before` is over.

    Called in the transaction that resolves the case, after its rows are written.
    """
    row = connection.execute(_DECISION, {"case_id": case_id}).mappings().one_or_none()
    if row is not None:
        _put(connection, [_decision_event(row, case_id)], not_before)


def cancel_decision(connection: Connection, case_id: UUID) -> bool:
    """Keep what was decided on a case in the house; False if the platform may know it already.

    Called in the transaction that undoes it, which is not to go on after False.
    """
    connection.execute(_CANCEL, {"case_id": case_id})
    return not connection.execute(_LEFT, {"case_id": case_id}).scalar_one()


def _verdict_event(row: RowMapping) -> _Event:
    verdict = {name: row[name] for name in _OF_A_VERDICT}
    verdict["decided_at"] = _time(row["created_at"])
    return _event(row, VERDICT_CREATED, row["created_at"], {"verdict": verdict})


def _decision_event(row: RowMapping, case_id: UUID) -> _Event:
    answer, said_before = row["answer"], row["answer_before"]
    is_clear = answer in ("match", "mismatch")
    decision = {
        "answer": answer,
        "reason": row["reason"],
        "decided_at": _time(row["resolved_at"]),
        "appeal_id": None if row["appeal_id"] is None else str(row["appeal_id"]),
        "overturns_verdict": (row["outcome"], answer) in (("flag", "match"), ("pass", "mismatch")),
        "overturns_decision": is_clear and said_before is not None and said_before != answer,
    }
    return _event(row, DECISION_CREATED, row["resolved_at"], {"decision": decision}, case_id)


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
