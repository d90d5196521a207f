"""Taking cases, keeping them, giving them back. Each runs in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from uuid import UUID

from sqlalchemy import Connection

from moderation.review.refusals import DeskRefused, NoSuchThing, Problem
from moderation.settings import Settings
from moderation.store import audit, case_states, claims, golden
from moderation.store.audit import Actor
from moderation.store.case_states import Standing
from moderation.store.cases import Level, State
from moderation.store.claims import Claim, Ending
from moderation.store.users import Role, User

_random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who sits at the desk, and as whom the audit log names them."""

    user: User
    actor: Actor

    @property
    def is_lead(self) -> bool:
        """Whether they may do what leads may."""
        return self.user.role.may(Role.LEAD)


def next_case(
    connection: Connection, settings: Settings, reviewer: Reviewer, policy: str | None = None
) -> Claim | None:
    """Claim what is next for somebody: what is assigned to them, then the queue's first.

    Now and then a golden case takes the place of the queue's; never where nothing waits, as a
    case that comes out of an empty queue would tell what it is.
    """
    user = reviewer.user
    while True:
        found = claims.next_assigned(connection, user, policy)
        if found is None:
            found = claims.next_queued(connection, user, policy)
            if found is None:
                return None
            share, u = settings.review_golden_share, _random.random()
            found = golden.draw(connection, user.name, share, u, policy) or found
        if (claim := _claim(connection, settings, reviewer, found)) is not None:
            return claim


def take(connection: Connection, settings: Settings, reviewer: Reviewer, case_id: UUID) -> Claim:
    """Claim a certain case: a held or assigned one, one of a list, or one that is open already.

    Opened again by the same person it has a new token: of two tabs the newest goes on.
    """
    case = lock_case(connection, case_id)
    held = claims.open_ones(connection, [case_id]).get(case_id)
    if held is not None and held.user_name == reviewer.user.name:
        claims.end(connection, [held.id], Ending.RELEASED)
    check_may_take(connection, reviewer, case)
    if case.state is State.HELD:
        case_states.resume(connection, case_id)
    claim = _claim(connection, settings, reviewer, case_id)
    if claim is None:
        raise taken()
    return claim


def lock_case(connection: Connection, case_id: UUID) -> Standing:
    """Lock a case; `NoSuchThing` where there is none."""
    found = case_states.lock(connection, [case_id])
    if not found:
        raise NoSuchThing("there is no such case")
    return found[0]


def check_may_take(connection: Connection, reviewer: Reviewer, case: Standing) -> None:
    """Raise `DeskRefused` where this locked case is not for this person, claims apart."""
    is_barred = bool(claims.barred(connection, reviewer.user, [case.id]))
    if (why := why_not(reviewer, case, is_barred=is_barred)) is not None:
        raise why


def why_not(reviewer: Reviewer, case: Standing, *, is_barred: bool) -> DeskRefused | None:
    """Why somebody may not take a case as it stands, claims apart; None if they may.

    `is_barred` says that they have decided or skipped it before.
    """
    # First for a blind one: whether anybody else is asked after them says whether it is golden.
    if is_barred and case.blind:
        return _barred()
    if case.state is State.RESOLVED:
        return DeskRefused(
            Problem.CASE_RESOLVED, "This case has been decided meanwhile. Take the next one."
        )
    if case.level is Level.LEAD and not reviewer.is_lead:
        return DeskRefused(Problem.NOT_YOURS, "This case waits for a lead. Take the next one.")
    mine = case.assigned_to in (None, reviewer.user.name)
    if not mine and not reviewer.is_lead:
        return DeskRefused(
            Problem.CASE_TAKEN, f"This case is kept for {case.assigned_to}. Take the next one."
        )
    if not case.is_available:
        return taken()
    return _barred() if is_barred else None


def _barred() -> DeskRefused:
    return DeskRefused(
        Problem.NOT_YOURS,
        "You have decided or skipped this before, so somebody else looks at it now. "
        "Take the next case.",
    )


def living(connection: Connection, reviewer: Reviewer, token: UUID) -> tuple[Standing, Claim]:
    """Lock the case of a claim and read the claim, which has not ended.

    One that expired is as good as ever while nobody has taken the case over.
    """
    case = case_states.lock_of_claim(connection, token)
    claim = claims.find(connection, token)
    if case is None or claim is None:
        raise NoSuchThing("there is no such claim")
    check_alive(reviewer, claim)
    return case, claim


def check_alive(reviewer: Reviewer, claim: Claim) -> None:
    """Raise `DeskRefused` for somebody else's claim and for one that has ended."""
    if claim.user_name != reviewer.user.name:
        raise DeskRefused(
            Problem.NOT_YOURS, "This claim is somebody else's. Take a case of your own."
        )
    if claim.ending is Ending.EXPIRED:
        raise DeskRefused(
            Problem.CLAIM_EXPIRED,
            "Your time with this case ran out, and it was opened again elsewhere. What you wrote "
            "is still on your page; nothing of it was stored. Take the next case.",
        )
    if claim.ending is not None:
        raise DeskRefused(
            Problem.CLAIM_ENDED,
            f"This claim has ended: the case was {claim.ending} in this tab or opened in another. "
            "What you wrote now was not stored. Take the next case.",
        )


def heartbeat(
    connection: Connection, settings: Settings, reviewer: Reviewer, token: UUID
) -> datetime:
    """Extend a claim; until when it lasts now."""
    claim = claims.find(connection, token)
    if claim is None:
        raise NoSuchThing("there is no such claim")
    check_alive(reviewer, claim)
    expires_at = claims.beat(connection, token, _lease(settings))
    if expires_at is None:
        # It ended between the two statements; the second look says how.
        ended = claims.find(connection, token)
        check_alive(reviewer, ended or claim)
        raise NoSuchThing("there is no such claim")
    return expires_at


def release(connection: Connection, reviewer: Reviewer, token: UUID) -> None:
    """Give a case back; whoever comes next may get it, the same person too."""
    case, claim = living(connection, reviewer, token)
    claims.end(connection, [claim.id], Ending.RELEASED)
    tell(connection, reviewer, "case.released", case)


def claim_all(
    connection: Connection, settings: Settings, reviewer: Reviewer, case_ids: list[UUID]
) -> dict[UUID, Claim]:
    """Claim those of these locked cases that nobody has; what has expired is taken over."""
    expired = claims.expire(connection, case_ids)
    audit.record_many(
        connection,
        reviewer.actor,
        "case.expired",
        {f"case:{id_}": {"claimed_by": name} for id_, name in expired.items()},
    )
    made = claims.add(connection, reviewer.user.name, case_ids, _lease(settings))
    audit.record_many(
        connection, reviewer.actor, "case.claimed", {f"case:{id_}": {} for id_ in made}
    )
    return made


def _claim(
    connection: Connection, settings: Settings, reviewer: Reviewer, case_id: UUID
) -> Claim | None:
    return claim_all(connection, settings, reviewer, [case_id]).get(case_id)


def taken() -> DeskRefused:
    """The refusal of what somebody else has."""
    return DeskRefused(
        Problem.CASE_TAKEN, "Somebody else has this case at the moment. Take the next one."
    )


def _lease(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.review_lease_s)


def tell(
    connection: Connection, reviewer: Reviewer, action: str, case: Standing, **details: object
) -> None:
    """Write into the audit log what somebody does with a case."""
    audit.record(connection, reviewer.actor, action, f"case:{case.id}", **details)
