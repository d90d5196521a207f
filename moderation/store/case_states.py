"""Where cases stand: locked, read, changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Select, func, select, update

from moderation.store.cases import Level, Route, State, is_blind
from moderation.store.decisions import Answer
from moderation.store.review_tables import cases, claims, decisions


@dataclass(frozen=True, slots=True)
class Standing:
    """A case as it stands; nobody changes it while the transaction that locked it lasts."""

    id: UUID
    submission_id: UUID
    policy: str
    route: Route
    state: State
    level: Level
    blind: bool
    answers_wanted: int
    is_available: bool
    assigned_to: str | None
    resolution: Answer | None
    resolved_at: datetime | None


def lock(connection: Connection, case_ids: Sequence[UUID]) -> list[Standing]:
    """Lock those of the cases that exist, in the order of their ids, as everybody does."""
    return _locked(connection, _QUERY.where(cases.c.id.in_(case_ids)).order_by(cases.c.id))


def lock_of_claim(connection: Connection, token: UUID) -> Standing | None:
    """Lock the case that a claim is or was for."""
    of_claim = select(claims.c.case_id).where(claims.c.id == token).scalar_subquery()
    return next(iter(_locked(connection, _QUERY.where(cases.c.id == of_claim))), None)


def lock_of_decision(connection: Connection, decision_id: UUID) -> Standing | None:
    """Lock the case that a decision is on."""
    decided = select(decisions.c.case_id).where(decisions.c.id == decision_id).scalar_subquery()
    return next(iter(_locked(connection, _QUERY.where(cases.c.id == decided))), None)


def read(connection: Connection, case_id: UUID) -> Standing | None:
    """A case as it stands now, without a lock."""
    row = connection.execute(_QUERY.where(cases.c.id == case_id)).mappings().one_or_none()
    return None if row is None else _standing(row)


def resolve(connection: Connection, answers: dict[UUID, Answer]) -> None:
    """Settle locked cases, each by its answer."""
    for answer in set(answers.values()):
        ids = [id_ for id_, given in answers.items() if given is answer]
        _change(
            connection,
            ids,
            state=State.RESOLVED.value,
            resolution=answer.value,
            resolved_at=func.now(),
        )


def close(connection: Connection, case_id: UUID) -> None:
    """Settle a locked case without any answer."""
    _change(connection, [case_id], state=State.RESOLVED.value, resolved_at=func.now())


def reopen(
    connection: Connection,
    case_ids: Sequence[UUID],
    *,
    level: Level,
    assigned_to: str | None = None,
    available_in: timedelta = timedelta(0),
) -> None:
    """Put locked cases back into the queue, or before the one they are assigned to."""
    _change(
        connection,
        case_ids,
        state=State.OPEN.value,
        level=level.value,
        resolution=None,
        resolved_at=None,
        assigned_to=assigned_to,
        available_at=func.now() + available_in,
    )


def hold(connection: Connection, case_id: UUID, user_name: str) -> None:
    """Lay a locked case aside for somebody."""
    _change(connection, [case_id], state=State.HELD.value, assigned_to=user_name)


def resume(connection: Connection, case_id: UUID) -> None:
    """Take up a locked case that was laid aside; it stays assigned."""
    _change(connection, [case_id], state=State.OPEN.value)


def assign(connection: Connection, case_id: UUID, user_name: str) -> None:
    """Give a locked case to somebody; nobody else gets it."""
    _change(connection, [case_id], state=State.OPEN.value, assigned_to=user_name)


def give_up(connection: Connection, user_name: str) -> list[UUID]:
    """Let others have what somebody claimed or holds and what is assigned to them; the cases.

    A golden case was drawn for them alone, and is closed.
    """
    claimed = select(claims.c.case_id).where(
        claims.c.user_name == user_name, claims.c.ended_at.is_(None)
    )
    is_kept = (cases.c.assigned_to == user_name) & (cases.c.state != State.RESOLVED.value)
    found = _locked(
        connection, _QUERY.where(is_kept | cases.c.id.in_(claimed)).order_by(cases.c.id)
    )
    connection.execute(
        update(claims)
        .where(
            claims.c.case_id.in_([case.id for case in found]),
            claims.c.user_name == user_name,
            claims.c.ended_at.is_(None),
        )
        .values(ended_at=func.now(), ending="released")
    )
    kept = [case for case in found if case.assigned_to == user_name]
    golden = [case.id for case in kept if case.route is Route.GOLDEN]
    others = [case.id for case in kept if case.route is not Route.GOLDEN]
    _change(connection, golden, state=State.RESOLVED.value, resolved_at=func.now())
    _change(connection, others, state=State.OPEN.value, assigned_to=None)
    return [case.id for case in found if case.id not in golden]


def kept_for(connection: Connection, user_name: str) -> list[UUID]:
    """The cases that somebody holds or that others assigned to them, the earliest due first.

    A golden case that only waits for them is not among them: audits never are.
    """
    given = (
        select(claims.c.id)
        .where(claims.c.case_id == cases.c.id, claims.c.ending == "assigned")
        .exists()
    )
    return list(
        connection.execute(
            select(cases.c.id)
            .where(
                cases.c.assigned_to == user_name,
                cases.c.state != State.RESOLVED.value,
                (cases.c.route != Route.GOLDEN.value) | (cases.c.state == State.HELD.value) | given,
            )
            .order_by(cases.c.due_at, cases.c.id)
        ).scalars()
    )


_QUERY: Select[Any] = select(cases, (cases.c.available_at <= func.now()).label("is_available"))


def _locked(connection: Connection, query: Select[Any]) -> list[Standing]:
    # Not FOR UPDATE, which would wait for everybody who adds a row that refers to the case.
    rows = connection.execute(query.with_for_update(key_share=True, of=cases))
    return [_standing(row) for row in rows.mappings()]


def _change(connection: Connection, case_ids: Sequence[UUID], **values: Any) -> None:
    connection.execute(update(cases).where(cases.c.id.in_(case_ids)).values(**values))


def _standing(row: RowMapping) -> Standing:
    return Standing(
        id=row["id"],
        submission_id=row["submission_id"],
        policy=row["policy"],
        route=Route(row["route"]),
        state=State(row["state"]),
        level=Level(row["level"]),
        blind=is_blind(Route(row["route"]), row["blind"]),
        answers_wanted=row["answers_wanted"],
        is_available=row["is_available"],
        assigned_to=row["assigned_to"],
        resolution=Answer(row["resolution"]) if row["resolution"] else None,
        resolved_at=row["resolved_at"],
    )
