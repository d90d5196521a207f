"""Taking decisions back, while nobody outside has heard of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from moderation.review import claiming
from moderation.review.claiming import Reviewer
from moderation.review.deciding import undo_time
from moderation.review.refusals import DeskRefused, NoSuchThing, Problem
from moderation.settings import Settings
from moderation.store import audit, case_states, decisions, outbox
from moderation.store.case_states import Standing
from moderation.store.claims import Claim
from moderation.store.decisions import Decision


@dataclass(frozen=True, slots=True)
class Undone:
    """How many decisions of a batch were undone, and the cases on which one was not."""

    undone: int
    refused: dict[UUID, DeskRefused]


def undo(
    connection: Connection, settings: Settings, reviewer: Reviewer, decision_id: UUID
) -> tuple[UUID, Claim | None]:
    """Undo a decision; its case, under a fresh claim where nobody else has it."""
    case = case_states.lock_of_decision(connection, decision_id)
    found = decisions.find(connection, ids=[decision_id])
    if case is None or not found:
        raise NoSuchThing("there is no such decision")
    others = decisions.standing(connection, [case.id])[case.id]
    _undo(connection, settings, reviewer, case, found[0], others)
    return case.id, claiming.claim_all(connection, settings, reviewer, [case.id]).get(case.id)


def undo_batch(
    connection: Connection, settings: Settings, reviewer: Reviewer, batch_id: UUID
) -> Undone:
    """Undo what was decided together; the cases go back to the queue."""
    found = decisions.find(connection, batch_id=batch_id)
    if not found:
        raise NoSuchThing("there is no such batch")
    locked = {case.id: case for case in case_states.lock(connection, [d.case_id for d in found])}
    standing = decisions.standing(connection, list(locked))
    refused = {}
    for decision in found:
        case = locked[decision.case_id]
        try:
            _undo(connection, settings, reviewer, case, decision, standing[case.id])
        except DeskRefused as error:
            refused[case.id] = error
    return Undone(len(found) - len(refused), refused)


def _undo(
    connection: Connection,
    settings: Settings,
    reviewer: Reviewer,
    case: Standing,
    decision: Decision,
    standing: Sequence[Decision],
) -> None:
    if (why := _why_not(settings, reviewer, decision, standing)) is not None:
        raise why
    if not outbox.cancel_decision(connection, case.id):
        raise _too_late(settings)
    decisions.undo(connection, [decision.id], undone_by=reviewer.user.name)
    # Whom it was assigned to stays where it was settled, as with golden cases.
    case_states.reopen(connection, [case.id], level=decision.level, assigned_to=case.assigned_to)
    audit.record(
        connection,
        reviewer.actor,
        "case.decision_undone",
        f"case:{case.id}",
        decision=str(decision.id),
    )


def _why_not(
    settings: Settings, reviewer: Reviewer, decision: Decision, standing: Sequence[Decision]
) -> DeskRefused | None:
    if decision.decided_by != reviewer.user.name:
        return DeskRefused(Problem.NOT_YOURS, "Only who made a decision can undo it.")
    if decision.id not in {one.id for one in standing}:
        return DeskRefused(Problem.CLAIM_ENDED, "This decision has been undone already.")
    # Before what others did since, which nobody does with golden cases.
    if decision.age >= undo_time(settings):
        return _too_late(settings)
    if standing[-1].id != decision.id:
        return DeskRefused(
            Problem.TOO_LATE,
            "Somebody else has decided this case since; leave a note there for the leads.",
        )
    return None


def _too_late(settings: Settings) -> DeskRefused:
    return DeskRefused(
        Problem.TOO_LATE,
        f"A decision can be undone for {settings.review_undo_s:g} s, and this one is older. Leave "
        "a note at the case, or ask a lead.",
    )
