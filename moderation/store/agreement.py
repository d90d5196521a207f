"""What two people said of one case on their own, and what people said of golden ones."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

from moderation.quality.agreement import Known, Twice
from moderation.store.decisions import Answer

# Only cases that two people were to decide before anybody had: audits get a second answer because
# of their first, and so always begin with a mismatch. A lead who settles a case knows more of it
# than the two before: what was answered at their level is left out.
_TWICE = text(
    """
    WITH given AS (
        SELECT cases.id AS case_id, decisions.decided_by, decisions.answer,
            row_number() OVER (
                PARTITION BY cases.id ORDER BY decisions.created_at, decisions.id
            ) AS nth
        FROM cases JOIN standing_decisions AS decisions ON decisions.case_id = cases.id
        WHERE cases.route IN ('flagged', 'unscorable') AND cases.blind
            AND cases.answers_wanted >= 2 AND decisions.level = 'moderator'
            AND cases.created_at > now() - CAST(:period AS interval)
    )
    SELECT one.decided_by AS first_by, other.decided_by AS second_by,
        one.answer AS first, other.answer AS second, count(*) AS cases
    FROM given AS one JOIN given AS other USING (case_id)
    WHERE one.nth = 1 AND other.nth = 2 AND one.decided_by <> other.decided_by
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
)

# What a lead has retired may have had a wrong answer; who added it was told nothing new, should
# somebody have assigned it to them.
_KNOWN = text(
    """
    SELECT decisions.decided_by, golden_answers.answer AS truth, decisions.answer, count(*) AS cases
    FROM cases
    JOIN golden_answers ON golden_answers.submission_id = cases.submission_id
    JOIN standing_decisions AS decisions ON decisions.case_id = cases.id
    WHERE cases.route = 'golden' AND golden_answers.retired_at IS NULL
        AND decisions.decided_by <> golden_answers.added_by
        AND cases.created_at > now() - CAST(:period AS interval)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)

_GIVEN = text(
    """
    SELECT decisions.decided_by AS name, count(*) AS decisions,
        count(*) FILTER (WHERE decisions.answer = 'unsure') AS unsure
    FROM standing_decisions AS decisions JOIN cases ON cases.id = decisions.case_id
    WHERE cases.route <> 'golden' AND decisions.created_at > now() - CAST(:period AS interval)
    GROUP BY 1 ORDER BY 1
    """
)


@dataclass(frozen=True, slots=True)
class Given:
    """How many decisions somebody made that stand, and how many of them say `unsure`."""

    name: str
    decisions: int
    unsure: int


def decided_twice(connection: Connection, period: timedelta) -> list[Twice]:
    """First two answers to cases of this last period that two people decided blind."""
    return [
        Twice(row.first_by, row.second_by, Answer(row.first), Answer(row.second), row.cases)
        for row in connection.execute(_TWICE, {"period": period})
    ]


def answered_golden(connection: Connection, period: timedelta) -> list[Known]:
    """Answers to golden cases of this last period, beside the right ones."""
    return [
        Known(row.decided_by, Answer(row.truth), Answer(row.answer), row.cases)
        for row in connection.execute(_KNOWN, {"period": period})
    ]


def given(connection: Connection, period: timedelta) -> list[Given]:
    """What people decided in this last period; golden cases do not count."""
    return [Given(*row) for row in connection.execute(_GIVEN, {"period": period})]
