"""What moderators decide on review cases. Decisions are only ever added."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select, text
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from moderation.store.cases import Level
from moderation.store.ingested import first_id
from moderation.store.review_tables import decisions, standing_decisions, undone_decisions


class Answer(StrEnum):
    """What a moderator says of a pair."""

    MISMATCH = "mismatch"
    MATCH = "match"
    UNSURE = "unsure"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class NewDecision:
    """An answer of a moderator to a case; `reason` is of the policy's list.

    It is made under a claim, which can decide only once; `level` is the case's at that time.
    """

    case_id: UUID
    answer: Answer
    decided_by: str
    reason: str | None = None
    note: str | None = None
    level: Level = Level.MODERATOR
    claim_id: UUID | None = None
    batch_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer that somebody gave to a case, so long ago as `age` says."""

    id: UUID
    case_id: UUID
    answer: Answer
    reason: str | None
    note: str | None
    decided_by: str
    created_at: datetime
    age: timedelta
    level: Level
    claim_id: UUID | None
    batch_id: UUID | None


@dataclass(frozen=True, slots=True)
class DrawnPair:
    """A scored submission that came to review with a known `probability`.

    `first` is what the first person said of it, `second` what the second did and `settled` what
    stands: `match`, `mismatch` or `unsure`; each None while it waits. `image` is the blob store's
    key or a URL.
    """

    cosine: float
    score: float
    is_flagged: bool
    probability: float
    first: Answer | None
    second: Answer | None
    settled: Answer | None
    image: str
    caption: str


def add_decisions(connection: Connection, items: Sequence[NewDecision]) -> list[UUID]:
    """Store decisions; their ids, in order. A later one on the same case overrules."""
    ids = [uuid7() for _ in items]
    rows = [
        {
            "id": id_,
            "case_id": item.case_id,
            "answer": item.answer.value,
            "decided_by": item.decided_by,
            "reason": item.reason,
            "note": item.note,
            "level": item.level.value,
            "claim_id": item.claim_id,
            "batch_id": item.batch_id,
        }
        for id_, item in zip(ids, items, strict=True)
    ]
    if rows:
        connection.execute(insert(decisions), rows)
    return ids


def standing(connection: Connection, case_ids: Sequence[UUID]) -> dict[UUID, list[Decision]]:
    """The decisions on each of the cases that nobody has undone, oldest first."""
    found: dict[UUID, list[Decision]] = {id_: [] for id_ in case_ids}
    rows = connection.execute(
        select(standing_decisions, (func.now() - standing_decisions.c.created_at).label("age"))
        .where(standing_decisions.c.case_id.in_(case_ids))
        .order_by(standing_decisions.c.created_at, standing_decisions.c.id)
    )
    for row in rows.mappings():
        found[row["case_id"]].append(_decision(row))
    return found


def find(
    connection: Connection,
    *,
    ids: Sequence[UUID] | None = None,
    batch_id: UUID | None = None,
) -> list[Decision]:
    """Decisions, undone or not: these, or those that were made together; by their case."""
    query = select(decisions, (func.now() - decisions.c.created_at).label("age"))
    if ids is not None:
        query = query.where(decisions.c.id.in_(ids))
    if batch_id is not None:
        query = query.where(decisions.c.batch_id == batch_id)
    rows = connection.execute(query.order_by(decisions.c.case_id))
    return [_decision(row) for row in rows.mappings()]


def undo(connection: Connection, decision_ids: Sequence[UUID], *, undone_by: str) -> None:
    """Take decisions back that stand; they stay stored, and the view leaves them out."""
    rows = [{"decision_id": id_, "undone_by": undone_by} for id_ in decision_ids]
    if rows:
        connection.execute(insert(undone_decisions), rows)


def _decision(row: RowMapping) -> Decision:
    return Decision(
        id=row["id"],
        case_id=row["case_id"],
        answer=Answer(row["answer"]),
        reason=row["reason"],
        note=row["note"],
        decided_by=row["decided_by"],
        created_at=row["created_at"],
        age=row["age"],
        level=Level(row["level"]),
        claim_id=row["claim_id"],
        batch_id=row["batch_id"],
    )


# Only flagged and audit cases were drawn with a known probability. An appeal overrules what was
# decided on them, but brings no submission of its own: nobody knows how likely it was. One answer
# to a case that wants two says nothing yet.
_DRAWN = text(
    """
    WITH stands AS (
        SELECT DISTINCT ON (submission_id) submission_id, resolution
        FROM cases WHERE route IN ('flagged', 'audit', 'appeal') AND submission_id >= :first_id
            AND resolution IN ('match', 'mismatch', 'unsure')
        ORDER BY submission_id, resolution = 'unsure', resolved_at DESC, id DESC
    ), given AS (
        SELECT case_id, array_agg(answer ORDER BY created_at, id) AS answers
        FROM standing_decisions GROUP BY case_id
    )
    SELECT verdicts.cosine, verdicts.score, verdicts.outcome = 'flag' AS is_flagged,
           cases.inclusion_probability AS probability, given.answers[1] AS first,
           given.answers[2] AS second, stands.resolution AS settled,
           coalesce(submissions.image_blob, submissions.image_url) AS image, submissions.caption
    FROM cases
    JOIN verdicts ON verdicts.submission_id = cases.submission_id
    JOIN submissions ON submissions.id = cases.submission_id
    LEFT JOIN stands ON stands.submission_id = cases.submission_id
    LEFT JOIN given ON given.case_id = cases.id
    WHERE cases.submission_id >= :first_id AND verdicts.model = :model
        AND (cases.route, verdicts.outcome) IN (('flagged', 'flag'), ('audit', 'pass'))
    ORDER BY cases.submission_id
    """
)

_PASSES = text(
    """
    SELECT count(*) FROM verdicts
    WHERE model = :model AND outcome = 'pass' AND submission_id >= :first_id
    """
)

_MODELS = text(
    """
    SELECT verdicts.model, count(DISTINCT verdicts.submission_id) AS pairs
    FROM cases JOIN verdicts ON verdicts.submission_id = cases.submission_id
    WHERE cases.route IN ('flagged', 'audit') AND cases.resolution IS NOT NULL
        AND verdicts.cosine IS NOT NULL
    GROUP BY verdicts.model ORDER BY 2 DESC, 1
    """
)


def drawn(connection: Connection, *, model: str, since: datetime | None = None) -> list[DrawnPair]:
    """The flagged and the audited submissions that `model`, a fingerprint, has scored.

    Those that came in at or after `since`, whether people have settled them or not. What stands
    is the latest clear answer that settled a case, an appeal's too; `unsure` leaves standing what
    stood. Golden cases do not count.
    """
    rows = connection.execute(_DRAWN, {"model": model, "first_id": _from(since)})
    return [
        DrawnPair(
            cosine=row.cosine,
            score=row.score,
            is_flagged=row.is_flagged,
            probability=row.probability,
            first=_answer(row.first),
            second=_answer(row.second),
            settled=_answer(row.settled),
            image=row.image,
            caption=row.caption,
        )
        for row in rows
    ]


def passes(connection: Connection, *, model: str, since: datetime | None = None) -> int:
    """How many submissions passed with a score of this model, of those that came in since."""
    given = {"model": model, "first_id": _from(since)}
    return int(connection.execute(_PASSES, given).scalar_one())


def _from(since: datetime | None) -> UUID:
    return UUID(int=0) if since is None else first_id(since)


def _answer(told: str | None) -> Answer | None:
    return None if told is None else Answer(told)


def models_decided_on(connection: Connection) -> dict[str, int]:
    """How many decided submissions there are of each model, the most first."""
    return {row.model: row.pairs for row in connection.execute(_MODELS)}
