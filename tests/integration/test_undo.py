"""Decisions are taken back in time, by who made them, while nobody else has built on them."""

import pytest

from moderation.review.deciding import Said
from moderation.review.refusals import NoSuchThing, Problem
from moderation.store.cases import Route
from moderation.store.decisions import Answer
from moderation.store.users import Role
from moderation.wiring import Services
from tests.integration.desk import add_case, desk_with, reviewer, rows_of, state_of
from tests.integration.test_claims import refused, token_of

MISMATCH, MATCH, ESCALATE = Said(Answer.MISMATCH), Said(Answer.MATCH), Said(Answer.ESCALATE)


def test_an_undone_decision_gives_the_case_back(services: Services) -> None:
    """Under a fresh claim, as it was; both decisions stay stored, and one of them stands."""
    desk = desk_with(services)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    id_ = add_case(services)
    before = state_of(services, id_)
    token = token_of(desk.next_case(mia))
    made = desk.decide(mia, token, MISMATCH)
    again = desk.undo(mia, made.decision_id)
    assert token_of(again) != token
    after = state_of(services, id_)
    assert after.pop("available_at") >= before.pop("available_at")  # type: ignore[operator]
    assert after == before
    assert desk.next_case(bob) is None
    desk.decide(mia, token_of(again), MATCH)
    assert rows_of(services, "SELECT answer FROM standing_decisions") == [("match",)]
    assert rows_of(services, "SELECT count(*) FROM decisions") == [(2,)]


def test_an_undone_escalation_is_a_moderators_case_again(services: Services) -> None:
    """Without a trace in the level."""
    desk = desk_with(services)
    mia = reviewer(services, "mia")
    id_ = add_case(services)
    made = desk.decide(mia, token_of(desk.next_case(mia)), ESCALATE)
    assert state_of(services, id_)["level"] == "lead"
    desk.decide(mia, token_of(desk.undo(mia, made.decision_id)), MATCH)
    assert state_of(services, id_)["resolution"] == "match"


def test_only_once_and_only_by_who_decided(services: Services) -> None:
    """Not by a lead either."""
    desk = desk_with(services)
    mia, lea = reviewer(services, "mia"), reviewer(services, "lea", Role.LEAD)
    add_case(services)
    made = desk.decide(mia, token_of(desk.next_case(mia)), MISMATCH)
    refused(Problem.NOT_YOURS, desk.undo, lea, made.decision_id)
    desk.undo(mia, made.decision_id)
    refused(Problem.CLAIM_ENDED, desk.undo, mia, made.decision_id)
    assert rows_of(services, "SELECT count(*) FROM undone_decisions") == [(1,)]


def test_after_the_undo_time_it_stands(services: Services) -> None:
    """Whatever became of it."""
    desk = desk_with(services, review_undo_s=0)
    mia = reviewer(services, "mia")
    for said in (MISMATCH, ESCALATE):
        add_case(services)
        made = desk.decide(mia, token_of(desk.next_case(mia)), said)
        error = refused(Problem.TOO_LATE, desk.undo, mia, made.decision_id)
        assert "note" in error.message


def test_what_somebody_else_has_decided_since_stays(services: Services) -> None:
    """The first of two answers can no longer be taken from under the second."""
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    id_ = add_case(services, blind=True, answers_wanted=2)
    fast, slow = desk_with(services, review_undo_s=0), desk_with(services, review_undo_s=60)
    first = fast.decide(mia, token_of(fast.next_case(mia)), MISMATCH)
    second = fast.decide(bob, token_of(fast.next_case(bob)), MISMATCH)
    refused(Problem.TOO_LATE, slow.undo, mia, first.decision_id)
    slow.undo(bob, second.decision_id)
    assert state_of(services, id_)["state"] == "open"
    # Nobody's answer came after the first any more, but bob has the case, so mia gets no claim.
    assert slow.undo(mia, first.decision_id).claim is None
    assert rows_of(services, "SELECT count(*) FROM standing_decisions") == [(0,)]


def test_an_undone_golden_case_stays_with_its_person(services: Services) -> None:
    """It was drawn for them; left open, nobody else gets it."""
    desk = desk_with(services)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    add_case(services, route=Route.GOLDEN, blind=True, assigned_to="mia")
    made = desk.decide(mia, token_of(desk.next_case(mia)), MATCH)
    desk.release(mia, token_of(desk.undo(mia, made.decision_id)))
    assert desk.next_case(bob) is None
    assert desk.next_case(mia) is not None


def test_a_batch_is_undone_together(services: Services) -> None:
    """All of it goes back to the queue; what was undone by itself before is named."""
    desk = desk_with(services)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    ids = [add_case(services) for _ in range(4)]
    done = desk.decide_many(mia, ids, MISMATCH)
    alone = done.decided[0]
    desk.release(mia, token_of(desk.undo(mia, alone.decision_id)))
    foreign = desk.undo_batch(bob, done.batch_id)
    assert (foreign.undone, len(foreign.refused)) == (0, 4)
    undone = desk.undo_batch(mia, done.batch_id)
    assert undone.undone == 3
    assert {id_: why.problem for id_, why in undone.refused.items()} == {
        alone.case_id: Problem.CLAIM_ENDED
    }
    assert {state_of(services, id_)["state"] for id_ in ids} == {"open"}
    assert {token_of(desk.next_case(bob)) for _ in ids}
    with pytest.raises(NoSuchThing):
        desk.undo_batch(mia, alone.decision_id)
