"""Verdicts without a case: a worker of a version from before the desk has stored them."""

from datetime import timedelta

from sqlalchemy import Connection, text

from moderation.store.cases import add_cases
from moderation.store.locks import Lock, wait_for
from moderation.store.verdicts import OpenCase
from moderation.types import Note, Outcome, Reason, Verdict

# By `created_at`, which has an index; an upgrade that takes longer is none. Passes are left: those
# of a worker that audits have been drawn already, and nothing tells them from the others.
_MISSED = text(
    """
    SELECT verdicts.* FROM verdicts
    WHERE created_at > now() - :within AND outcome <> 'pass' AND NOT EXISTS (
        SELECT FROM cases
        WHERE cases.submission_id = verdicts.submission_id
            AND route IN ('flagged', 'unscorable')
    )
    ORDER BY created_at LIMIT 10000
    """
)


def open_missed(connection: Connection, open_case: OpenCase, *, within: timedelta) -> int:
    """Open the cases of verdicts that have none; how many. No other process does so meanwhile."""
    wait_for(connection, Lock.MISSED_CASES)
    missed = []
    for row in connection.execute(_MISSED, {"within": within}):
        verdict = Verdict(
            outcome=Outcome(row.outcome),
            calibration_version=row.calibration_version,
            model=row.model,
            threshold=row.threshold,
            cosine=row.cosine,
            score=row.score,
            reason=Reason(row.reason) if row.reason else None,
            detail=row.detail,
            notes=tuple(Note(note) for note in row.notes),
        )
        case = open_case(row.submission_id, verdict)
        if case is not None:
            missed.append(case)
    return len(add_cases(connection, missed))
