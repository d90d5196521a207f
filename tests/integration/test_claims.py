"""Cases are claimed: each by one person at a time, under a token of its own."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from moderation.errors import InputRefused
from moderation.review import accounts
from moderation.review.claiming import Reviewer
from moderation.review.deciding import Said
from moderation.review.desk import Desk
from moderation.review.documents import CaseOut
from moderation.review.refusals import DeskRefused, NoSuchThing, Problem
from moderation.store.audit import Actor
from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer
from moderation.store.users import Role
from moderation.wiring import Services
from tests.integration.desk import a_picture, add_case, desk_with, reviewer, rows_of, state_of

MISMATCH = Said(Answer.MISMATCH)


def token_of(case: CaseOut | None) -> UUID:
    """The token of a case that was just claimed."""
    assert case is not None
    assert case.claim is not None
    return case.claim.id


@pytest.fixture
def people(services: Services) -> dict[str, Reviewer]:
    """Three moderators and two leads."""
    roles = dict.fromkeys(("mia", "bob", "zoe"), Role.MODERATOR)
    return {
        name: reviewer(services, name, role)
        for name, role in {**roles, "lea": Role.LEAD, "leo": Role.LEAD}.items()
    }


def refused(problem: Problem, act: object, *given: object) -> DeskRefused:
    """What an action is refused with, which is this problem."""
    with pytest.raises(DeskRefused) as caught:
        act(*given)  # type: ignore[operator]
    assert caught.value.problem is problem
    return caught.value


def test_the_earliest_due_is_next(services: Services, people: dict[str, Reviewer]) -> None:
    """In the order in which they are due, whoever asks, with a token of its own for each claim."""
    desk = desk_with(services)
    hours = [3, 1, 2, 0]
    ids = [add_case(services, due_in=timedelta(hours=h)) for h in hours]
    tabs = [desk.next_case(people[name]) for name in ("mia", "mia", "bob", "zoe")]
    assert [tab.id for tab in tabs if tab] == [ids[3], ids[1], ids[2], ids[0]]
    assert len({token_of(tab) for tab in tabs}) == 4
    assert desk.next_case(people["lea"]) is None


def test_a_policy_can_be_asked_for(services: Services, people: dict[str, Reviewer]) -> None:
    """Then only its cases come."""
    desk = desk_with(services)
    add_case(services)
    id_ = add_case(services, policy="ads", due_in=timedelta(hours=5))
    case = desk.next_case(people["mia"], "ads")
    assert case is not None
    assert (case.id, case.policy) == (id_, "ads")
    assert desk.next_case(people["mia"], "ads") is None


def test_leads_cases_come_to_leads_only(services: Services, people: dict[str, Reviewer]) -> None:
    """And to them before what anybody may decide."""
    desk = desk_with(services)
    other = add_case(services)
    id_ = add_case(services, level=Level.LEAD, due_in=timedelta(hours=9))
    mine = desk.next_case(people["mia"])
    assert mine is not None
    assert mine.id == other
    assert desk.next_case(people["bob"]) is None
    refused(Problem.NOT_YOURS, desk.take, people["bob"], id_)
    desk.release(people["mia"], token_of(mine))
    first = desk.next_case(people["lea"])
    assert first is not None
    assert first.id == id_


def test_what_has_expired_goes_to_somebody_else(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """And who had it is told so, whatever they try; nothing of theirs is stored."""
    id_ = add_case(services)
    old = token_of(desk_with(services, review_lease_s=0.001).next_case(people["mia"]))
    desk = desk_with(services)
    new = token_of(desk.next_case(people["bob"]))
    mia = people["mia"]
    for act in (desk.heartbeat, desk.release, desk.skip, desk.hold):
        error = refused(Problem.CLAIM_EXPIRED, act, mia, old)
        assert "Take the next case" in error.message
    refused(Problem.CLAIM_EXPIRED, desk.decide, mia, old, MISMATCH)
    refused(Problem.CLAIM_EXPIRED, desk.assign, mia, old, "lea")
    assert state_of(services, id_)["state"] == "open"
    refused(Problem.NOT_YOURS, desk.decide, mia, new, MISMATCH)
    desk.decide(people["bob"], new, MISMATCH)
    assert rows_of(services, "SELECT decided_by FROM decisions") == [("bob",)]
    expired = "SELECT actor, details->>'claimed_by' FROM audit_log WHERE action = 'case.expired'"
    assert rows_of(services, expired) == [("bob", "mia")]


def test_an_expired_claim_that_nobody_took_over_goes_on(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """A laptop that slept loses nothing: it beats again, and its answer counts."""
    add_case(services)
    token = token_of(desk_with(services, review_lease_s=0.001).next_case(people["mia"]))
    desk = desk_with(services)
    desk.heartbeat(people["mia"], token)
    assert desk.next_case(people["bob"]) is None
    desk.decide(people["mia"], token, MISMATCH)
    other = add_case(services)
    late = token_of(desk_with(services, review_lease_s=0.001).next_case(people["mia"]))
    assert desk.decide(people["mia"], late, MISMATCH).case_id == other


def test_a_released_case_waits_again(services: Services, people: dict[str, Reviewer]) -> None:
    """For anybody; the claim has ended and says so."""
    desk = desk_with(services)
    id_ = add_case(services)
    token = token_of(desk.next_case(people["mia"]))
    desk.release(people["mia"], token)
    error = refused(Problem.CLAIM_ENDED, desk.decide, people["mia"], token, MISMATCH)
    assert "released" in error.message
    again = desk.next_case(people["mia"])
    assert again is not None
    assert again.id == id_
    assert token_of(again) != token


def test_a_skipped_case_never_comes_back(services: Services, people: dict[str, Reviewer]) -> None:
    """Not to who skipped it; when three have, a lead gets it."""
    desk = desk_with(services)
    id_ = add_case(services)
    for name in ("mia", "bob", "zoe"):
        person = people[name]
        case = desk.next_case(person)
        assert case is not None
        assert case.level == "moderator"
        desk.skip(person, token_of(case))
        assert desk.next_case(person) is None
    refused(Problem.NOT_YOURS, desk.take, people["mia"], id_)
    assert state_of(services, id_)["level"] == "lead"
    case = desk.next_case(people["lea"])
    assert case is not None
    desk.decide(people["lea"], token_of(case), MISMATCH)
    escalated = "SELECT actor, details->>'why' FROM audit_log WHERE action = 'case.escalated'"
    assert rows_of(services, escalated) == [("zoe", "skipped")]


def test_a_held_case_waits_for_its_holder(services: Services, people: dict[str, Reviewer]) -> None:
    """Nobody else gets it, its note is kept, and it is found under `mine`."""
    desk = desk_with(services)
    id_ = add_case(services)
    desk.hold(people["mia"], token_of(desk.next_case(people["mia"])), "ask the\nlawyers")
    assert desk.next_case(people["mia"]) is None
    assert desk.next_case(people["bob"]) is None
    refused(Problem.CASE_TAKEN, desk.take, people["bob"], id_)
    assert desk.mine(people["bob"]) == []
    (held,) = desk.mine(people["mia"])
    assert (held.state, [note.text for note in held.notes]) == ("held", ["ask the\nlawyers"])
    taken = desk.take(people["mia"], id_)
    desk.decide(people["mia"], token_of(taken), MISMATCH)
    assert desk.mine(people["mia"]) == []


def test_an_assigned_case_comes_first(services: Services, people: dict[str, Reviewer]) -> None:
    """To the person it was given to, and to nobody else."""
    desk = desk_with(services)
    id_ = add_case(services)
    token = token_of(desk.next_case(people["mia"]))
    for to in ("nobody", "bob"):
        with pytest.raises(InputRefused) as caught:
            desk.assign(people["mia"], token, to)
        assert caught.value.field == "to"
    desk.assign(people["mia"], token, "lea", "is this satire?")
    add_case(services, level=Level.LEAD, due_in=timedelta(hours=-9))
    assert desk.next_case(people["bob"]) is None
    assert [case.id for case in desk.mine(people["lea"])] == [id_]
    first = desk.next_case(people["lea"])
    assert first is not None
    assert first.id == id_
    desk.assign(people["lea"], token_of(first), "bob")
    other = desk.next_case(people["bob"])
    assert other is not None
    assert other.id == id_


def test_nobody_is_assigned_what_they_may_not_decide(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """Neither a lead's case to a moderator, nor a case to who has skipped it."""
    desk = desk_with(services)
    add_case(services, level=Level.LEAD)
    token = token_of(desk.next_case(people["lea"]))
    with pytest.raises(InputRefused, match="needs a lead"):
        desk.assign(people["lea"], token, "mia")
    desk.skip(people["lea"], token)
    token = token_of(desk.next_case(people["leo"]))
    with pytest.raises(InputRefused, match="skipped"):
        desk.assign(people["leo"], token, "lea")


def test_a_case_opened_again_belongs_to_the_newest_tab(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """A reloaded page goes on at once; the tab that had the case before is told."""
    desk = desk_with(services)
    id_ = add_case(services)
    before = token_of(desk.take(people["mia"], id_))
    refused(Problem.CASE_TAKEN, desk.take, people["bob"], id_)
    after = token_of(desk.take(people["mia"], id_))
    refused(Problem.CLAIM_ENDED, desk.heartbeat, people["mia"], before)
    desk.heartbeat(people["mia"], after)


def test_a_lead_takes_over_what_somebody_holds(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """People go on holiday."""
    desk = desk_with(services)
    id_ = add_case(services)
    desk.hold(people["mia"], token_of(desk.next_case(people["mia"])))
    desk.decide(people["lea"], token_of(desk.take(people["lea"], id_)), MISMATCH)
    assert state_of(services, id_)["resolution"] == "mismatch"


def test_what_is_not_there_is_said_to_be(services: Services, people: dict[str, Reviewer]) -> None:
    """No claim, no case, no decision, no batch of that id."""
    desk = desk_with(services)
    mia = people["mia"]
    acts = (desk.take, desk.show, desk.heartbeat, desk.release, desk.undo, desk.undo_batch)
    for act in acts:
        with pytest.raises(NoSuchThing):
            act(mia, uuid4())
    with pytest.raises(NoSuchThing):
        desk.decide(mia, uuid4(), MISMATCH)


def test_golden_cases_take_the_place_of_others(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """Each comes once to a person, never out of an empty queue, and looks like an audit."""
    desk = desk_with(services, review_golden_share=0.5)
    for colour in ("red", "blue", "green"):
        known = add_case(services, route=Route.AUDIT, image=a_picture(colour))
        with services.database.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO golden_answers (submission_id, answer, why, added_by) "
                "SELECT submission_id, 'match', 'seen by all', 'lea' FROM cases WHERE id = %s",
                (known,),
            )
            connection.exec_driver_sql(
                "UPDATE cases SET state = 'resolved', resolution = 'match', resolved_at = now() "
                "WHERE id = %s",
                (known,),
            )
    assert all(desk.next_case(people["mia"]) is None for _ in range(20))
    add_case(services, route=Route.AUDIT, image=a_picture("white"), caption="an audit")
    seen = []
    while (case := desk.next_case(people["mia"])) is not None:
        seen.append(case)
        desk.decide(people["mia"], token_of(case), Said(Answer.MATCH))
    audit = next(case for case in seen if case.caption == "an audit")
    for case in seen:
        changing = {"id", "caption", "claim", "image_url"}
        assert case.model_dump(exclude=changing) == audit.model_dump(exclude=changing)
        assert case.id.version == 4
    # Half of all draws are golden, so that three come before the audit once in sixteen times.
    golden = rows_of(services, "SELECT state, resolution FROM cases WHERE route = 'golden'")
    assert golden == [("resolved", "match")] * (len(seen) - 1)


def test_a_skipped_golden_case_is_over(services: Services, people: dict[str, Reviewer]) -> None:
    """It was drawn for one person; nobody else gets it, and `mine` does not show it."""
    desk = desk_with(services)
    id_ = add_case(services, route=Route.GOLDEN, blind=True, assigned_to="mia")
    assert desk.mine(people["mia"]) == []
    desk.skip(people["mia"], token_of(desk.next_case(people["mia"])))
    assert desk.next_case(people["bob"]) is None
    assert state_of(services, id_)["state"] == "resolved"


def test_every_step_is_in_the_audit_log(services: Services, people: dict[str, Reviewer]) -> None:
    """Who did what to which case; texts that people write are not in it."""
    desk: Desk = desk_with(services)
    id_ = add_case(services, caption="a secret caption")
    mia = people["mia"]
    desk.release(mia, token_of(desk.next_case(mia)))
    desk.hold(mia, token_of(desk.next_case(mia)), "secret")
    desk.note(mia, id_, "secret")
    made = desk.decide(mia, token_of(desk.take(mia, id_)), Said(Answer.ESCALATE, None, "secret"))
    desk.assign(mia, token_of(desk.undo(mia, made.decision_id)), "lea", "secret")
    desk.skip(people["lea"], token_of(desk.next_case(people["lea"])))
    rows = rows_of(
        services, "SELECT action, actor, subject, details::text FROM audit_log ORDER BY id"
    )
    assert [row[0] for row in rows] == [
        "case.claimed", "case.released", "case.claimed", "case.note_added", "case.held",
        "case.note_added", "case.claimed", "case.decided", "case.escalated",
        "case.decision_undone", "case.claimed", "case.note_added", "case.assigned",
        "case.claimed", "case.skipped",
    ]  # fmt: skip
    assert {row[2] for row in rows} == {f"case:{id_}"}
    assert [row[1] for row in rows[-2:]] == ["lea", "lea"]
    assert not any("secret" in str(row[3]) for row in rows)


def test_what_somebody_keeps_is_given_back_with_their_account(
    services: Services, people: dict[str, Reviewer]
) -> None:
    """Held and assigned cases go to others when their person is disabled, or no lead any more."""
    desk = desk_with(services)
    held, assigned, leads = add_case(services), add_case(services), add_case(services)
    golden = add_case(services, route=Route.GOLDEN, assigned_to="mia")
    desk.hold(people["mia"], token_of(desk.take(people["mia"], held)))
    desk.assign(people["mia"], token_of(desk.take(people["mia"], assigned)), "mia")
    desk.hold(people["lea"], token_of(desk.take(people["lea"], leads)))
    with services.database.begin() as connection:
        accounts.set_disabled(connection, Actor("root"), "mia", disabled=True)
        accounts.set_role(connection, Actor("root"), "lea", Role.MODERATOR)
    assert state_of(services, golden)["state"] == "resolved"
    again = [desk.next_case(people["bob"]) for _ in range(3)]
    assert {case.id for case in again if case} == {held, assigned, leads}
    assert desk.next_case(people["bob"]) is None
