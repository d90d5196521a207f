"""Claims: whose turn it is to decide a case. Each has a token of its own and lasts while it beats.

Whoever changes a case or its claims locks the case first, so that what they then read of it stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from moderation.store.cases import Level
from moderation.store.review_tables import claims
from moderation.store.users import Role, User


class Ending(StrEnum):
    """How a claim ended."""

    DECIDED = "decided"
    RELEASED = "released"
    SKIPPED = "skipped"
    HELD = "held"
    ASSIGNED = "assigned"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's turn at a case; `id` is the lease token. Until it has ended, it can beat."""

    id: UUID
    case_id: UUID
    user_name: str
    expires_at: datetime
    is_expired: bool
    ending: Ending | None


# Nobody decides a submission both at first and on appeal, whichever of the two comes before them.
# Sub-queries that end in LIMIT stay what they are, an index look-up for each case in order; joined
# instead, all claims and decisions ever made would be read before the first case is known.
_NEVER_AGAIN = """
    coalesce((
        SELECT true FROM claims
        WHERE claims.case_id = cases.id AND claims.user_name = :user_name AND ending = 'skipped'
        LIMIT 1
    ), false)
    OR coalesce((
        SELECT true FROM standing_decisions AS mine
        WHERE mine.case_id = cases.id AND mine.decided_by = :user_name
            AND NOT (:is_lead AND cases.level = 'lead' AND mine.answer = 'escalate')
        LIMIT 1
    ), false)
    OR cases.route <> 'golden' AND coalesce((
        SELECT true FROM cases AS others
        JOIN standing_decisions AS mine ON mine.case_id = others.id
        WHERE others.submission_id = cases.submission_id AND others.id <> cases.id
            AND others.route <> 'golden' AND 'appeal' IN (cases.route, others.route)
            AND mine.decided_by = :user_name
        LIMIT 1
    ), false)
"""
_IS_HELD = """
    coalesce((
        SELECT true FROM claims
        WHERE claims.case_id = cases.id AND ended_at IS NULL AND expires_at > now() LIMIT 1
    ), false)
"""
MAY_TAKE = f"""
    state = 'open' AND available_at <= now() AND NOT {_IS_HELD} AND NOT ({_NEVER_AGAIN})
"""
_ASSIGNED = text(
    f"""
    SELECT id FROM cases
    WHERE assigned_to = :user_name AND state <> 'resolved' AND {MAY_TAKE}
        AND (level = 'moderator' OR :is_lead)
        AND (CAST(:policy AS text) IS NULL OR policy = :policy)
    ORDER BY due_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    """  # noqa: S608
)
_QUEUE = f"""
    level = :level AND assigned_to IS NULL AND {MAY_TAKE}
    ORDER BY due_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_QUEUED = text(f"SELECT id FROM cases WHERE {_QUEUE}")  # noqa: S608
_QUEUED_OF_POLICY = text(f"SELECT id FROM cases WHERE policy = :policy AND {_QUEUE}")  # noqa: S608
_BARRED = text(f"SELECT id FROM cases WHERE id = ANY(:ids) AND ({_NEVER_AGAIN})")  # noqa: S608
# Said once more after the case was locked: what was read while waiting for it may be old.
_STILL_MINE_TO_TAKE = text(f"SELECT id FROM cases WHERE id = :id AND {MAY_TAKE}")  # noqa: S608


def next_assigned(connection: Connection, user: User, policy: str | None) -> UUID | None:
    """Lock the first case that is assigned to this person and that they may decide now."""
    return _locked(connection, _ASSIGNED, user, policy)


def next_queued(connection: Connection, user: User, policy: str | None) -> UUID | None:
    """Lock the first case of the queue that this person may decide; leads see to theirs first."""
    levels = (Level.LEAD, Level.MODERATOR) if user.role.may(Role.LEAD) else (Level.MODERATOR,)
    for level in levels:
        query = _QUEUED if policy is None else _QUEUED_OF_POLICY
        found = _locked(connection, query, user, policy, level=level.value)
        if found is not None:
            return found
    return None


def barred(connection: Connection, user: User, case_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the cases that this person decided or skipped, or decided on appeal or before it."""
    return set(connection.execute(_BARRED, {"ids": list(case_ids), **taker(user)}).scalars())


def _locked(
    connection: Connection, query: Any, user: User, policy: str | None, **more: Any
) -> UUID | None:
    given = {**taker(user), "policy": policy, **more}
    while (found := connection.execute(query, given).scalar_one_or_none()) is not None:
        again = connection.execute(_STILL_MINE_TO_TAKE, {**given, "id": found})
        if again.scalar_one_or_none() is not None:
            return UUID(str(found))
    return None


def taker(user: User) -> dict[str, Any]:
    """What `MAY_TAKE` has to know of who would take a case."""
    return {"user_name": user.name, "is_lead": user.role.may(Role.LEAD)}


def add(
    connection: Connection, user_name: str, case_ids: Sequence[UUID], lease: timedelta
) -> dict[UUID, Claim]:
    """Give somebody the turn at those locked cases that nobody has now; a claim for each.

    End what has expired before, by `expire`.
    """
    if not case_ids:
        return {}
    # Random, not in the order of time: a token is to be guessed by nobody.
    rows = [{"id": uuid4(), "case_id": id_, "user_name": user_name} for id_ in case_ids]
    made = connection.execute(
        insert(claims)
        .values(expires_at=func.now() + lease)
        .on_conflict_do_nothing()
        .returning(claims, _IS_EXPIRED),
        rows,
    )
    return {row["case_id"]: _claim(row) for row in made.mappings()}


def expire(connection: Connection, case_ids: Sequence[UUID]) -> dict[UUID, str]:
    """End the expired claims of locked cases; whose they were, by case.

    One that beats in this moment stays.
    """
    ended = connection.execute(
        update(claims)
        .where(
            claims.c.case_id.in_(case_ids),
            claims.c.ended_at.is_(None),
            claims.c.expires_at <= func.now(),
        )
        .values(ended_at=func.now(), ending=Ending.EXPIRED.value)
        .returning(claims.c.case_id, claims.c.user_name)
    )
    return {row.case_id: row.user_name for row in ended}


def find(connection: Connection, token: UUID) -> Claim | None:
    """The claim of a token, ended or not."""
    row = connection.execute(select(claims, _IS_EXPIRED).where(claims.c.id == token))
    found = row.mappings().one_or_none()
    return None if found is None else _claim(found)


def open_ones(connection: Connection, case_ids: Sequence[UUID]) -> dict[UUID, Claim]:
    """The claims of these cases that have not ended, expired ones too, by case."""
    rows = connection.execute(
        select(claims, _IS_EXPIRED).where(
            claims.c.case_id.in_(case_ids), claims.c.ended_at.is_(None)
        )
    )
    return {row["case_id"]: _claim(row) for row in rows.mappings()}


def beat(connection: Connection, token: UUID, lease: timedelta) -> datetime | None:
    """Extend a claim that has not ended, even one that expired; None where it has ended."""
    return connection.execute(
        update(claims)
        .where(claims.c.id == token, claims.c.ended_at.is_(None))
        .values(expires_at=func.now() + lease)
        .returning(claims.c.expires_at)
    ).scalar_one_or_none()


def end(connection: Connection, tokens: Sequence[UUID], ending: Ending) -> None:
    """End claims that have not ended."""
    connection.execute(
        update(claims)
        .where(claims.c.id.in_(tokens), claims.c.ended_at.is_(None))
        .values(ended_at=func.now(), ending=ending.value)
    )


def skippers(connection: Connection, case_id: UUID) -> int:
    """How many different people passed a case over."""
    return connection.execute(
        select(func.count(claims.c.user_name.distinct())).where(
            claims.c.case_id == case_id, claims.c.ending == Ending.SKIPPED.value
        )
    ).scalar_one()


_IS_EXPIRED = (claims.c.expires_at <= func.now()).label("is_expired")


def _claim(row: RowMapping) -> Claim:
    return Claim(
        id=row["id"],
        case_id=row["case_id"],
        user_name=row["user_name"],
        expires_at=row["expires_at"],
        is_expired=row["is_expired"],
        ending=Ending(row["ending"]) if row["ending"] else None,
    )
