"""Cases that wait for somebody who is not there."""

from sqlalchemy import Connection, text

# Of the few cases that bar anybody: what nobody has decided or skipped is open to all.
_UNDECIDABLE = text(
    """
    SELECT count(*) FROM cases
    WHERE cases.state <> 'resolved' AND cases.route <> 'golden'
        AND NOT EXISTS (
            SELECT FROM users
            WHERE users.disabled_at IS NULL
                AND (cases.level = 'moderator' OR users.role <> 'moderator')
                AND (cases.assigned_to IS NULL OR cases.assigned_to = users.name)
                AND NOT EXISTS (
                    SELECT FROM claims WHERE claims.case_id = cases.id
                        AND claims.user_name = users.name AND claims.ending = 'skipped'
                )
                AND NOT EXISTS (
                    SELECT FROM standing_decisions AS decisions
                    WHERE decisions.case_id = cases.id AND decisions.decided_by = users.name
                        AND NOT (cases.level = 'lead' AND decisions.answer = 'escalate')
                )
                AND NOT EXISTS (
                    SELECT FROM cases AS others
                    JOIN standing_decisions AS decisions ON decisions.case_id = others.id
                    WHERE others.submission_id = cases.submission_id AND others.id <> cases.id
                        AND others.route <> 'golden' AND 'appeal' IN (cases.route, others.route)
                        AND decisions.decided_by = users.name
                )
        )
    """
)


def count_undecidable(connection: Connection) -> int:
    """How many cases wait that nobody may decide: who might has decided or skipped them already."""
    waiting: int = connection.execute(_UNDECIDABLE).scalar_one()
    return waiting
