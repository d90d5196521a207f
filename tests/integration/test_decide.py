"""Decisions: exactly once, by so many different people as a case needs, and then told."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from moderation.errors import InputRefused
from moderation.review.claiming import Reviewer
from moderation.review.deciding import Said
from moderation.review.desk import Desk
from moderation.review.refusals import DeskRefused, Problem
from moderation.store import history, reasons
from moderation.store.audit import Actor
from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer
from moderation.store.history import Period
from moderation.store.reasons import PolicyReasons, Reason
from moderation.store.users import Role
from moderation.wiring import Services
from tests.integration.desk import add_case, desk_with, reviewer, rows_of, state_of
from tests.integration.test_claims import refused, token_of
from thresholds.decisions import labelled

MISMATCH, MATCH, ESCALATE = Said(Answer.MISMATCH), Said(Answer.MATCH), Said(Answer.ESCALATE)


def say(desk: Desk, person: Reviewer, said: Said) -> UUID:
    """Decide the next case of somebody; its id."""
    return desk.decide(person, token_of(desk.next_case(person)), said).case_id


def test_a_claim_decides_once(services: Services) -> None:
    """Sent again the same, also at the same time, it gives the first answer; another is refused."""
    desk = desk_with(services)
    mia = reviewer(services, "mia")
    add_case(services)
    token = token_of(desk.next_case(mia))
    said = Said(Answer.MISMATCH, "spam", "twice\nsent")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: desk.decide(mia, token, said), range(8)))
    assert len({(one.decision_id, one.undo_until) for one in made}) == 1
    assert rows_of(services, "SELECT count(*) FROM decisions") == [(1,)]
    refused(Problem.CLAIM_ENDED, desk.decide, mia, token, MATCH)
    desk.undo(mia, made[0].decision_id)
    refused(Problem.CLAIM_ENDED, desk.decide, mia, token, said)


def test_reasons_are_those_of_the_policy(services: Services) -> None:
    """One of its list, given where it asks for one; escalating needs none."""
    desk = desk_with(services)
    mia = reviewer(services, "mia")
    listed = PolicyReasons((Reason("bad", "Bad"),), frozenset({Answer.MISMATCH}))
    with services.database.begin() as connection:
        reasons.put(connection, "ads", listed, read_at=None, actor=Actor("lea"))
    add_case(services, policy="ads")
    token = token_of(desk.next_case(mia))
    for said in (MISMATCH, Said(Answer.MISMATCH, "spam"), Said(Answer.MATCH, "spam")):
        with pytest.raises(InputRefused) as caught:
            desk.decide(mia, token, said)
        assert caught.value.field == "reason"
    desk.decide(mia, token, Said(Answer.MISMATCH, "bad"))
    add_case(services, policy="ads")
    say(desk, mia, ESCALATE)


def test_two_people_decide_a_case_that_wants_two(services: Services) -> None:
    """The second one sees nothing of the first; agreeing settles it."""
    desk = desk_with(services, review_undo_s=0)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    id_ = add_case(services, blind=True, answers_wanted=2)
    first = desk.next_case(mia)
    assert first is not None
    desk.note(mia, id_, "surely a mismatch")
    desk.decide(mia, token_of(first), Said(Answer.MISMATCH, "spam", "no doubt"))
    assert desk.next_case(mia) is None
    second = desk.next_case(bob)
    assert second is not None
    assert second.model_dump(exclude={"claim"}) == first.model_dump(exclude={"claim"})
    desk.decide(bob, token_of(second), MISMATCH)
    assert state_of(services, id_)["resolution"] == "mismatch"


@pytest.mark.parametrize("route", [Route.FLAGGED, Route.AUDIT])
def test_a_lead_settles_what_two_differ_on(services: Services, route: Route) -> None:
    """One who has not decided it, who reads what the others said, and still no score."""
    desk = desk_with(services, review_undo_s=0)
    mia, lea = reviewer(services, "mia"), reviewer(services, "lea", Role.LEAD)
    leo = reviewer(services, "leo", Role.LEAD)
    wanted = 1 if route is Route.AUDIT else 2
    id_ = add_case(services, route=route, blind=True, answers_wanted=wanted)
    say(desk, mia, MISMATCH)
    say(desk, lea, Said(Answer.MATCH, None, "it is a toy"))
    assert state_of(services, id_)["level"] == "lead"
    assert desk.next_case(lea) is None
    case = desk.next_case(leo)
    assert case is not None
    assert (case.score, case.route, case.resolution) == (None, None, None)
    assert [(one.decided_by, one.note) for one in case.earlier] == [
        ("mia", None),
        ("lea", "it is a toy"),
    ]
    with pytest.raises(InputRefused, match="leads already"):
        desk.decide(leo, token_of(case), ESCALATE)
    desk.decide(leo, token_of(case), MATCH)
    row = state_of(services, id_)
    assert (row["state"], row["resolution"]) == ("resolved", "match")


def test_an_escalated_case_goes_to_a_lead(services: Services) -> None:
    """Not before it can no longer be undone, nor back to who escalated it, unless they lead."""
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    lea = reviewer(services, "lea", Role.LEAD)
    id_ = add_case(services)
    patient, desk = desk_with(services), desk_with(services, review_undo_s=0)
    made = patient.decide(mia, token_of(patient.next_case(mia)), ESCALATE)
    assert patient.next_case(lea) is None
    refused(Problem.CASE_TAKEN, patient.take, lea, id_)
    desk.decide(mia, token_of(patient.undo(mia, made.decision_id)), ESCALATE)
    assert desk.next_case(mia) is None
    assert desk.next_case(bob) is None
    say(desk, lea, MISMATCH)
    assert state_of(services, id_)["resolution"] == "mismatch"
    other = add_case(services)
    say(desk, lea, ESCALATE)
    say(desk, lea, MATCH)
    assert state_of(services, other)["resolution"] == "match"


def test_an_appeal_is_for_somebody_else(services: Services) -> None:
    """Who has decided any case of the submission neither gets nor takes its appeal."""
    desk = desk_with(services, review_undo_s=0)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    first = add_case(services)
    say(desk, mia, MISMATCH)
    appeal = uuid4()
    with services.database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO cases (id, submission_id, policy, route, inclusion_probability) "
            "SELECT %s, submission_id, policy, 'appeal', 1 FROM cases WHERE id = %s",
            (appeal, first),
        )
    assert desk.next_case(mia) is None
    refused(Problem.NOT_YOURS, desk.take, mia, appeal)
    assert say(desk, bob, MATCH) == appeal
    assert state_of(services, first)["resolution"] == "mismatch"
    assert state_of(services, appeal)["resolution"] == "match"


def test_cases_are_decided_together(services: Services) -> None:
    """Each that can be, once; the others are named with what is in the way."""
    desk = desk_with(services)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    free = [add_case(services) for _ in range(3)]
    taken, skipped, done = (add_case(services) for _ in range(3))
    blind = add_case(services, route=Route.AUDIT, blind=True)
    leads = add_case(services, level=Level.LEAD)
    desk.take(bob, taken)
    desk.skip(mia, token_of(desk.take(mia, skipped)))
    desk.decide(bob, token_of(desk.take(bob, done)), MATCH)
    nothing = uuid4()
    asked = [*free, taken, skipped, done, blind, leads, nothing, free[0]]
    together = desk.decide_many(mia, asked, MISMATCH)
    assert {one.case_id for one in together.decided} == set(free)
    assert {id_: why.problem for id_, why in together.refused.items()} == {
        taken: Problem.CASE_TAKEN,
        skipped: Problem.NOT_YOURS,
        done: Problem.CASE_RESOLVED,
        blind: Problem.NOT_YOURS,
        leads: Problem.NOT_YOURS,
        nothing: Problem.NOT_YOURS,
    }
    stored = rows_of(
        services, "SELECT case_id FROM decisions WHERE batch_id = :id", id=together.batch_id
    )
    assert {row[0] for row in stored} == set(free)
    assert rows_of(services, "SELECT count(DISTINCT claim_id) FROM decisions") == [(4,)]


def test_two_who_decide_the_same_cases_together_share_them(services: Services) -> None:
    """At the same time and in opposite order: each case is decided once, nobody waits for ever."""
    desk = desk_with(services)
    people = [reviewer(services, f"person-{n}") for n in range(4)]
    ids = [add_case(services) for _ in range(30)]

    def together(n: int) -> Sequence[UUID]:
        ordered = ids if n % 2 else ids[::-1]
        done = desk.decide_many(people[n], ordered, MISMATCH)
        assert len(done.decided) + len(done.refused) == len(ids)
        return [one.case_id for one in done.decided]

    with ThreadPoolExecutor(4) as pool:
        decided = [id_ for some in pool.map(together, range(4)) for id_ in some]
    assert sorted(decided) == sorted(ids)


def test_what_is_decided_becomes_a_label_unless_it_is_undone(services: Services) -> None:
    """Backtests read the decisions that stand, as the labels do."""
    desk = desk_with(services)
    mia = reviewer(services, "mia")
    add_case(services)
    made = desk.decide(mia, token_of(desk.next_case(mia)), MISMATCH)
    assert _labels(services) == (1, 1)
    desk.undo(mia, made.decision_id)
    assert _labels(services) == (0, 0)


def _labels(services: Services) -> tuple[int, int]:
    now = datetime.now(UTC)
    period = Period(now - timedelta(days=1), now + timedelta(days=1))
    with services.database.connect() as connection:
        found = labelled(connection, model="m")
        return len(found), len(history.decided(connection, period, model="m"))


def test_nobody_hears_of_it_before_the_undo_time_is_over(services: Services) -> None:
    """A delivery waits in the outbox until then; undone, none is left."""
    desk = desk_with(services)
    mia = reviewer(services, "mia")
    with services.database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO webhook_endpoints (id, platform, url, secret) "
            "VALUES (%s, 'acme', 'https://acme.example', 's')",
            (uuid4(),),
        )
    add_case(services)
    made = desk.decide(mia, token_of(desk.next_case(mia)), MISMATCH)
    waiting = (
        "SELECT due_at > :until FROM webhook_deliveries WHERE state = 'pending' AND attempts = 0"
    )
    assert rows_of(services, waiting, until=made.undo_until) == [(True,)]
    again = desk.undo(mia, made.decision_id)
    assert rows_of(services, waiting, until=made.undo_until) == []
    desk.decide(mia, token_of(again), MATCH)
    assert rows_of(services, waiting, until=made.undo_until) == [(True,)]


def test_refusals_change_nothing(services: Services) -> None:
    """Neither a decision nor a line in the audit log, and the claim goes on."""
    desk = desk_with(services)
    mia, bob = reviewer(services, "mia"), reviewer(services, "bob")
    add_case(services)
    token = token_of(desk.next_case(mia))
    before = rows_of(services, "SELECT count(*) FROM audit_log")
    for person, said in ((bob, MISMATCH), (mia, Said(Answer.MATCH, "no such reason"))):
        with pytest.raises((DeskRefused, InputRefused)):
            desk.decide(person, token, said)
    assert rows_of(services, "SELECT count(*) FROM audit_log") == before
    desk.decide(mia, token, MISMATCH)
