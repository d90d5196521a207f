"""What a platform is told of the review of a submission: by webhook, by the API, by `status`.

It learns what waits for a person because of its verdict or an appeal, and what was decided; not
that something is being audited, nor who decided, nor of golden cases. And nothing before it can
no longer be undone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.types import Outcome

# One row a case, to be restricted further.
CASES_TOLD = """
    SELECT submissions.id, submissions.platform, submissions.external_id, submissions.policy,
           cases.id AS case_id, cases.route, cases.state, cases.created_at AS opened_at,
           cases.resolution AS answer, cases.resolved_at, last.reason, appeals.id AS appeal_id,
           verdicts.outcome
    FROM cases
    JOIN submissions ON submissions.id = cases.submission_id
    LEFT JOIN verdicts ON verdicts.submission_id = cases.submission_id
    LEFT JOIN appeals ON appeals.case_id = cases.id
    LEFT JOIN LATERAL (
        SELECT reason FROM standing_decisions
        WHERE case_id = cases.id AND answer = cases.resolution
        ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS last ON true
    WHERE cases.route <> 'golden'
"""
_OF_SUBMISSIONS = text(
    f"""
    SELECT *, resolved_at IS NOT NULL AND resolved_at + :undo <= now() AS is_final
    FROM ({CASES_TOLD} AND cases.submission_id = ANY(:ids)) AS told
    ORDER BY opened_at, case_id
    """  # noqa: S608 - our own text
)
_SEEN = (Route.FLAGGED, Route.UNSCORABLE, Route.APPEAL)
_OVERTURNS = ((Outcome.FLAG, Answer.MATCH), (Outcome.PASS, Answer.MISMATCH))


@dataclass(frozen=True, slots=True)
class AppealSaid:
    """What became of an appeal."""

    id: UUID
    outcome: str


@dataclass(frozen=True, slots=True)
class ToldDecision:
    """What was decided on a case, of nobody's name; `appeal` if that was an appeal's case."""

    answer: Answer
    reason: str | None
    decided_at: datetime
    overturns_verdict: bool
    appeal: AppealSaid | None


@dataclass(frozen=True, slots=True)
class ToldCase:
    """A case that waits or has been decided; both last ones are None while it waits."""

    route: Route
    opened_at: datetime
    answer: Answer | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Review:
    """The newest case of a submission, if there is any, and all decisions, the oldest first."""

    case: ToldCase | None = None
    decisions: tuple[ToldDecision, ...] = ()


def told_decision(row: RowMapping) -> ToldDecision:
    """What a row of `CASES_TOLD` of a resolved case says."""
    answer, appeal = Answer(row["answer"]), None
    if row["appeal_id"] is not None:
        # As the appeal itself says it: only a match changes what stood against the post.
        said = "overturned" if answer is Answer.MATCH else "upheld"
        appeal = AppealSaid(row["appeal_id"], said)
    return ToldDecision(
        answer=answer,
        reason=row["reason"],
        decided_at=row["resolved_at"],
        overturns_verdict=(row["outcome"], answer) in _OVERTURNS,
        appeal=appeal,
    )


def reviews(connection: Connection, ids: Sequence[UUID], *, undo: timedelta) -> dict[UUID, Review]:
    """What may be told of each of these submissions, where there is anything."""
    found: dict[UUID, Review] = {}
    for row in connection.execute(_OF_SUBMISSIONS, {"ids": list(ids), "undo": undo}).mappings():
        before = found.get(row["id"], Review())
        case, decisions = before.case, before.decisions
        if row["is_final"] and row["answer"] is not None:
            # An appeal may be decided before the case that was open when it came.
            told = (*decisions, told_decision(row))
            decisions = tuple(sorted(told, key=lambda decision: decision.decided_at))
        if row["route"] in _SEEN:
            case = ToldCase(
                route=Route(row["route"]),
                opened_at=row["opened_at"],
                answer=Answer(row["answer"]) if row["is_final"] and row["answer"] else None,
                decided_at=row["resolved_at"] if row["is_final"] else None,
            )
        found[row["id"]] = Review(case, decisions)
    return found
