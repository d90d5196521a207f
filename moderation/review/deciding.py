"""Answers to claimed cases, one or many together. Each runs in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from moderation.errors import InputRefused
from moderation.review import claiming, rules
from moderation.review.claiming import Reviewer
from moderation.review.refusals import DeskRefused, NoSuchThing, Problem
from moderation.review.rules import Given, Resolved
from moderation.settings import Settings
from moderation.store import audit, case_states, claims, decisions, outbox
from moderation.store.case_states import Standing
from moderation.store.cases import Level
from moderation.store.claims import Claim, Ending
from moderation.store.decisions import Answer, Decision, NewDecision
from moderation.store.reasons import reasons_for

# An undo that began in time has to end before anybody is told.
_UNDO_MAY_TAKE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says of a case."""

    answer: Answer
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that was stored, and until when it can be undone.

    `is_new` unless it had been stored before and was sent again.
    """

    decision_id: UUID
    case_id: UUID
    undo_until: datetime
    is_new: bool


@dataclass(frozen=True, slots=True)
class Together:
    """What became of cases that were decided together."""

    batch_id: UUID
    decided: Sequence[Made]
    refused: Mapping[UUID, DeskRefused]


def undo_time(settings: Settings) -> timedelta:
    """For how long a decision can be undone."""
    return timedelta(seconds=settings.review_undo_s)


def decide(
    connection: Connection, settings: Settings, reviewer: Reviewer, token: UUID, said: Said
) -> Made:
    """Decide a claimed case. Sent again the same, it gives the first answer back."""
    case = case_states.lock_of_claim(connection, token)
    claim = claims.find(connection, token)
    if case is None or claim is None:
        raise NoSuchThing("there is no such claim")
    if claim.ending is Ending.DECIDED and claim.user_name == reviewer.user.name:
        for stored in decisions.standing(connection, [case.id])[case.id]:
            if stored.claim_id == token and _said(stored) == said:
                return _made(settings, stored, is_new=False)
    claiming.check_alive(reviewer, claim)
    _check(connection, case, said)
    return _store(connection, settings, reviewer, [(case, claim)], said)[0]


def decide_many(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    case_ids: Sequence[UUID],
    said: Said,
) -> Together:
    """Claim and decide each of these cases; those that cannot be are refused by themselves."""
    batch_id: UUID = uuid7()
    found = {case.id: case for case in case_states.lock(connection, case_ids)}
    barred = claims.barred(connection, reviewer.user, case_ids)
    refused: dict[UUID, DeskRefused] = {}
    free: list[Standing] = []
    for id_ in dict.fromkeys(case_ids):
        why = _why_not_many(connection, reviewer, found.get(id_), said, is_barred=id_ in barred)
        if why is None:
            free.append(found[id_])
        else:
            refused[id_] = why
    mine = claiming.claim_all(connection, settings, reviewer, [case.id for case in free])
    for case in free:
        if case.id not in mine:
            refused[case.id] = claiming.taken()
    claimed = [(case, mine[case.id]) for case in free if case.id in mine]
    made = _store(connection, settings, reviewer, claimed, said, batch_id) if claimed else []
    return Together(batch_id, made, refused)


def _why_not_many(
    connection: Connection,
    reviewer: Reviewer,
    case: Standing | None,
    said: Said,
    *,
    is_barred: bool,
) -> DeskRefused | None:
    if case is None:
        return DeskRefused(Problem.NOT_YOURS, "There is no such case.")
    if (why := claiming.why_not(reviewer, case, is_barred=is_barred)) is not None:
        return why
    if case.blind:
        # Who decides by the list looks at none of them closely, which these are there to measure.
        return DeskRefused(Problem.NOT_YOURS, "This case is decided by itself, on its own page.")
    try:
        _check(connection, case, said)
    except InputRefused as error:
        return DeskRefused(Problem.NOT_YOURS, f"{error}.")
    return None


def _check(connection: Connection, case: Standing, said: Said) -> None:
    if said.answer is Answer.ESCALATE and case.level is Level.LEAD:
        raise InputRefused("it is with the leads already: decide, or assign it", field="answer")
    listed = reasons_for(connection, case.policy)
    if said.reason is None:
        if said.answer in listed.required_for:
            raise InputRefused(f"choose a reason: {said.answer} needs one", field="reason")
    elif said.reason not in {reason.key for reason in listed.reasons}:
        raise InputRefused("choose a reason of the policy's list", field="reason")


def _store(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    claimed: Sequence[tuple[Standing, Claim]],
    said: Said,
    batch_id: UUID | None = None,
) -> list[Made]:
    before = decisions.standing(connection, [case.id for case, _ in claimed])
    ids = decisions.add_decisions(
        connection,
        [
            NewDecision(
                case_id=case.id,
                answer=said.answer,
                decided_by=reviewer.user.name,
                reason=said.reason,
                note=said.note,
                level=case.level,
                claim_id=claim.id,
                batch_id=batch_id,
            )
            for case, claim in claimed
        ],
    )
    claims.end(connection, [claim.id for _, claim in claimed], Ending.DECIDED)
    audit.record_many(
        connection,
        reviewer.actor,
        "case.decided",
        {
            f"case:{case.id}": {
                "decision": str(id_),
                # Leads read the log, and decide blind cases too.
                **({} if case.blind else {"answer": said.answer.value, "reason": said.reason}),
                **({"batch": str(batch_id)} if batch_id else {}),
            }
            for id_, (case, _) in zip(ids, claimed, strict=True)
        },
    )
    _settle(connection, settings, reviewer, [case for case, _ in claimed], before, said)
    stored = {one.id: one for one in decisions.find(connection, ids=ids)}
    return [_made(settings, stored[id_], is_new=True) for id_ in ids]


def _settle(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    settled: Sequence[Standing],
    before: Mapping[UUID, Sequence[Decision]],
    said: Said,
) -> None:
    """Resolve the cases that need no more answers, and send the others on."""
    resolved: dict[UUID, Answer] = {}
    onward: dict[Level, list[UUID]] = {Level.MODERATOR: [], Level.LEAD: []}
    escalated: dict[str | None, dict[str, str]] = {}
    for case in settled:
        given = [Given(one.answer, one.level) for one in before[case.id]]
        outcome = rules.resolve(
            case.route,
            case.answers_wanted,
            [*given, Given(said.answer, case.level)],
            level=case.level,
        )
        if isinstance(outcome, Resolved):
            resolved[case.id] = outcome.answer
            continue
        onward[outcome.level].append(case.id)
        if outcome.level is not case.level:
            why = "asked" if said.answer is Answer.ESCALATE else "disagreement"
            escalated[f"case:{case.id}"] = {"why": why}
    undo = undo_time(settings)
    for level, ids in onward.items():
        if ids:
            case_states.reopen(connection, ids, level=level, available_in=undo)
    audit.record_many(connection, reviewer.actor, "case.escalated", escalated)
    case_states.resolve(connection, resolved)
    outbox.decisions_resolved(connection, list(resolved), not_before=undo + _UNDO_MAY_TAKE)


def _said(stored: Decision) -> Said:
    return Said(stored.answer, stored.reason, stored.note)


def _made(settings: Settings, stored: Decision, *, is_new: bool) -> Made:
    return Made(stored.id, stored.case_id, stored.created_at + undo_time(settings), is_new)
