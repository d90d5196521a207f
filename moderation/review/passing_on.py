"""Cases that go to somebody else, and what is written beside them. In the caller's transaction."""

from uuid import UUID

from sqlalchemy import Connection

from moderation.errors import InputRefused
from moderation.review import claiming
from moderation.review.claiming import Reviewer
from moderation.review.refusals import NoSuchThing
from moderation.review.rules import SKIPS_TO_LEAD
from moderation.store import audit, case_notes, case_states, claims, users
from moderation.store.audit import Actor
from moderation.store.case_states import Standing
from moderation.store.cases import Level, Route
from moderation.store.claims import Ending
from moderation.store.users import Role


def skip(connection: Connection, reviewer: Reviewer, token: UUID) -> None:
    """Pass a case over; it does not come back to this person, and a lead gets what three pass."""
    case, claim = claiming.living(connection, reviewer, token)
    claims.end(connection, [claim.id], Ending.SKIPPED)
    claiming.tell(connection, reviewer, "case.skipped", case)
    if case.route is Route.GOLDEN:
        # It was drawn for this person; the next one has a draw of their own.
        case_states.close(connection, case.id)
        return
    skipped = claims.skippers(connection, case.id)
    if skipped >= SKIPS_TO_LEAD and case.level is Level.MODERATOR:
        case_states.reopen(connection, [case.id], level=Level.LEAD)
        claiming.tell(connection, reviewer, "case.escalated", case, why="skipped", people=skipped)
    else:
        case_states.reopen(connection, [case.id], level=case.level)


def hold(connection: Connection, reviewer: Reviewer, token: UUID, note: str | None) -> None:
    """Lay a case aside, for oneself to go on with later."""
    case, claim = claiming.living(connection, reviewer, token)
    _add_note(connection, reviewer, case, note)
    claims.end(connection, [claim.id], Ending.HELD)
    case_states.hold(connection, case.id, reviewer.user.name)
    claiming.tell(connection, reviewer, "case.held", case)


def assign(
    connection: Connection, reviewer: Reviewer, token: UUID, to: str, note: str | None
) -> None:
    """Give a case to somebody: leads to anybody, others to a lead or to themselves."""
    case, claim = claiming.living(connection, reviewer, token)
    person = users.find(connection, to)
    if person is None or person.disabled_at is not None:
        raise InputRefused("there is nobody of that name", field="to")
    is_lead = person.role.may(Role.LEAD)
    if not (reviewer.is_lead or is_lead or to == reviewer.user.name):
        raise InputRefused(
            "assign it to a lead or to yourself; leads assign to anybody", field="to"
        )
    if case.level is Level.LEAD and not is_lead:
        raise InputRefused("this case needs a lead", field="to")
    if claims.barred(connection, person, [case.id]):
        raise InputRefused(f"{to} has decided or skipped this before; choose another", field="to")
    _add_note(connection, reviewer, case, note)
    claims.end(connection, [claim.id], Ending.ASSIGNED)
    case_states.assign(connection, case.id, to)
    claiming.tell(connection, reviewer, "case.assigned", case, to=to)


def give_up(connection: Connection, actor: Actor, user_name: str) -> None:
    """Give back all that somebody keeps who is not there any more, or may do less."""
    audit.record_many(
        connection,
        actor,
        "case.released",
        {
            f"case:{id_}": {"kept_for": user_name}
            for id_ in case_states.give_up(connection, user_name)
        },
    )


def add_note(connection: Connection, reviewer: Reviewer, case_id: UUID, text: str) -> None:
    """Write beside a case."""
    case = case_states.read(connection, case_id)
    if case is None:
        raise NoSuchThing("there is no such case")
    _add_note(connection, reviewer, case, text)


def _add_note(connection: Connection, reviewer: Reviewer, case: Standing, text: str | None) -> None:
    if text:
        case_notes.add_note(connection, case.id, reviewer.user.name, text)
        claiming.tell(connection, reviewer, "case.note_added", case)
