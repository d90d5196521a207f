"""Whatever people do in whatever order, the desk does what a model of a page does."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from moderation.errors import InputRefused
from moderation.review.claiming import Reviewer
from moderation.review.deciding import Said
from moderation.review.refusals import DeskRefused
from moderation.review.rules import Given, Resolved, resolve
from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer
from moderation.store.users import Role
from moderation.wiring import Services
from tests.integration.desk import add_case, desk_with, reviewer, rows_of

NAMES = ("mia", "bob", "zoe", "lea", "leo")
LEADS = ("lea", "leo")


@dataclass
class Turn:
    """A claim that somebody was given."""

    case: "Case"
    who: str
    ended: bool = False
    expired: bool = False


@dataclass
class Made:
    """A decision, and whether it still stands."""

    who: str
    answer: Answer
    level: Level
    stands: bool = True


@dataclass
class Case:
    """All that the model knows of a case."""

    id: UUID
    route: Route
    wanted: int
    due: int
    state: str = "open"
    level: Level = Level.MODERATOR
    assigned_to: str | None = None
    resolution: Answer | None = None
    waits: bool = False
    skipped: set[str] = field(default_factory=set)
    made: list[Made] = field(default_factory=list)
    turn: Turn | None = None

    def bars(self, who: str) -> bool:
        """Whether this person may never have it again."""
        return who in self.skipped or any(
            one.stands
            and one.who == who
            and not (who in LEADS and self.level is Level.LEAD and one.answer is Answer.ESCALATE)
            for one in self.made
        )

    def is_free(self) -> bool:
        """Whether nobody has it."""
        return self.turn is None or self.turn.expired

    def may_be_next(self, who: str) -> bool:
        """Whether the queue may give it to this person."""
        return (
            self.state == "open"
            and not self.waits
            and self.is_free()
            and not self.bars(who)
            and (self.assigned_to == who or (self.assigned_to is None and self.is_for(who)))
        )

    def is_for(self, who: str) -> bool:
        """Whether it is of this person's level."""
        return self.level is Level.MODERATOR or who in LEADS

    def problem_of_taking(self, who: str) -> str | None:
        """Why this person cannot take it."""
        if self.route is Route.AUDIT and self.bars(who):
            return "not_yours"
        if self.state == "resolved":
            return "case_resolved"
        if not self.is_for(who):
            return "not_yours"
        if self.assigned_to not in (None, who) and who not in LEADS:
            return "case_taken"
        if self.waits:
            return "case_taken"
        if self.bars(who):
            return "not_yours"
        return None

    def settle(self) -> None:
        """Where it stands after an answer."""
        given = [Given(one.answer, one.level) for one in self.made if one.stands]
        outcome = resolve(self.route, self.wanted, given, level=self.level)
        if isinstance(outcome, Resolved):
            self.state, self.resolution = "resolved", outcome.answer
        else:
            self.state, self.assigned_to = "open", None
            self.level, self.waits = outcome.level, True


class DeskMachine(RuleBasedStateMachine):
    """Five people and some cases of a policy of their own, so that examples share a database."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.desk = desk_with(services, review_lease_s=3_600.0, review_undo_s=3_600.0)
        self.late = desk_with(services, review_lease_s=3_600.0, review_undo_s=0.0)
        self.people: dict[str, Reviewer] = {
            name: reviewer(services, name, Role.LEAD if name in LEADS else Role.MODERATOR)
            for name in NAMES
        }
        self.policy = str(uuid4())
        self.cases: list[Case] = []
        self.turns: dict[UUID, Turn] = {}
        self.decisions: dict[UUID, tuple[Case, Made]] = {}

    def _sql(self, sql: str, **given: object) -> None:
        with self.services.database.begin() as connection:
            connection.execute(text(sql), given)

    def _refusal(self, act: object, *given: object) -> tuple[str | None, object]:
        try:
            return None, act(*given)  # type: ignore[operator]
        except DeskRefused as error:
            return error.problem.value, None
        except InputRefused as error:
            return error.field, None

    def _begin(self, case: Case, who: str, token: UUID) -> None:
        assert token not in self.turns
        if case.turn is not None:
            case.turn.ended = True
        case.turn = self.turns[token] = Turn(case, who)

    def _alive(self, turn: Turn, who: str) -> bool:
        return not turn.ended and turn.who == who

    @rule(
        route=st.sampled_from([Route.FLAGGED, Route.AUDIT]),
        wanted=st.sampled_from([1, 1, 2]),
        due=st.integers(-999, 999),
    )
    def a_case_comes(self, route: Route, wanted: int, due: int) -> None:
        """It is due at some time of its own."""
        due = due * 1_000 + len(self.cases)
        id_ = add_case(
            self.services,
            route=route,
            answers_wanted=wanted,
            policy=self.policy,
            due_in=timedelta(seconds=due),
        )
        self.cases.append(Case(id_, route, wanted, due))

    @rule(who=st.sampled_from(NAMES))
    def next_case(self, who: str) -> None:
        """What is assigned, then what is a lead's, then what is due first."""
        able = [case for case in self.cases if case.may_be_next(who)]
        able.sort(
            key=lambda case: (
                case.assigned_to != who,
                case.assigned_to is None and case.level is not Level.LEAD,
                case.due,
            )
        )
        shown = self.desk.next_case(self.people[who], self.policy)
        assert (shown and shown.id) == (able[0].id if able else None)
        if shown is not None:
            assert shown.claim is not None
            self._begin(able[0], who, shown.claim.id)

    @rule(who=st.sampled_from(NAMES), data=st.data())
    def take(self, who: str, data: st.DataObject) -> None:
        """A case by its id."""
        if not self.cases:
            return
        case = data.draw(st.sampled_from(self.cases))
        expected = case.problem_of_taking(who)
        if expected is None and not case.is_free() and case.turn and case.turn.who != who:
            expected = "case_taken"
        problem, shown = self._refusal(self.desk.take, self.people[who], case.id)
        assert problem == expected
        if problem is None:
            case.state = "open"
            self._begin(case, who, shown.claim.id)  # type: ignore[attr-defined]

    @rule(
        who=st.sampled_from(NAMES),
        act=st.sampled_from(["heartbeat", "release", "skip", "hold", "assign"]),
        to=st.sampled_from(NAMES),
        mine=st.booleans(),
        data=st.data(),
    )
    def act(self, who: str, act: str, to: str, mine: bool, data: st.DataObject) -> None:
        """With a claim of one's own or of somebody else, that lives or has ended."""
        if not self.turns:
            return
        token = data.draw(st.sampled_from(list(self.turns)))
        turn = self.turns[token]
        case, who = turn.case, turn.who if mine else who
        given = (to,) if act == "assign" else ()
        problem, _ = self._refusal(getattr(self.desk, act), self.people[who], token, *given)
        if not self._alive(turn, who):
            assert problem in ("claim_ended", "claim_expired", "not_yours")
            return
        if act == "heartbeat":
            assert problem is None
            turn.expired = False
            return
        if act == "assign" and (
            not (who in LEADS or to in LEADS or to == who) or not case.is_for(to) or case.bars(to)
        ):
            assert problem == "to"
            return
        assert problem is None
        turn.ended, case.turn = True, None
        if act == "skip":
            case.skipped.add(who)
            case.assigned_to = None
            if len(case.skipped) >= 3:
                case.level = Level.LEAD
        elif act == "hold":
            case.state, case.assigned_to = "held", who
        elif act == "assign":
            case.assigned_to = to

    @rule(
        who=st.sampled_from(NAMES),
        answer=st.sampled_from(Answer),
        mine=st.sampled_from([True, True, False]),
        data=st.data(),
    )
    def decide(self, who: str, answer: Answer, mine: bool, data: st.DataObject) -> None:
        """With any token."""
        if not self.turns:
            return
        token = data.draw(st.sampled_from(list(self.turns)))
        turn = self.turns[token]
        who = turn.who if mine else who
        problem, made = self._refusal(self.desk.decide, self.people[who], token, Said(answer))
        if not self._alive(turn, who):
            if problem is None:
                # The same answer sent again.
                case, before = self.decisions[made.decision_id]  # type: ignore[attr-defined]
                assert (case, before.who, before.answer) == (turn.case, who, answer)
            return
        if turn.case.level is Level.LEAD and answer is Answer.ESCALATE:
            assert problem == "answer"
            return
        assert problem is None
        self._decided(turn.case, who, answer, made.decision_id)  # type: ignore[attr-defined]

    def _decided(self, case: Case, who: str, answer: Answer, id_: UUID) -> None:
        if case.turn is not None:
            case.turn.ended, case.turn = True, None
        made = Made(who, answer, case.level)
        case.made.append(made)
        self.decisions[id_] = (case, made)
        case.settle()

    @rule(who=st.sampled_from(NAMES), answer=st.sampled_from(Answer), data=st.data())
    def decide_many(self, who: str, answer: Answer, data: st.DataObject) -> None:
        """Any of them together."""
        if not self.cases:
            return
        chosen = data.draw(st.lists(st.sampled_from(self.cases), min_size=1, max_size=4))
        able = {
            case.id: case
            for case in chosen
            if case.problem_of_taking(who) is None
            and case.is_free()
            and case.route is not Route.AUDIT
            and not (case.level is Level.LEAD and answer is Answer.ESCALATE)
        }
        ids = [case.id for case in chosen]
        done = self.desk.decide_many(self.people[who], ids, Said(answer))
        assert {one.case_id for one in done.decided} == set(able)
        assert set(done.refused) == set(ids) - set(able)
        for one in done.decided:
            self._decided(able[one.case_id], who, answer, one.decision_id)

    @rule(in_time=st.sampled_from([True, True, False]), data=st.data())
    def undo(self, in_time: bool, data: st.DataObject) -> None:
        """In time or too late, when others may have built on it."""
        if not self.decisions:
            return
        id_ = data.draw(st.sampled_from(list(self.decisions)))
        case, made = self.decisions[id_]
        desk = self.desk if in_time else self.late
        problem, shown = self._refusal(desk.undo, self.people[made.who], id_)
        standing = [one for one in case.made if one.stands]
        if not made.stands:
            assert problem == "claim_ended"
            return
        if standing[-1] is not made or not in_time:
            assert problem == "too_late"
            return
        assert problem is None
        made.stands = False
        case.state, case.resolution, case.level = "open", None, made.level
        case.waits = False
        claim = shown.claim  # type: ignore[attr-defined]
        assert (claim is not None) == case.is_free()
        if claim is not None:
            self._begin(case, made.who, claim.id)

    @rule(data=st.data())
    def a_lease_runs_out(self, data: st.DataObject) -> None:
        """Of a claim that lives."""
        living = [token for token, turn in self.turns.items() if not turn.ended]
        if living:
            token = data.draw(st.sampled_from(living))
            self.turns[token].expired = True
            self._sql("UPDATE claims SET expires_at = now() WHERE id = :id", id=token)

    @rule()
    def time_goes_by(self) -> None:
        """What could be undone is given to others."""
        for case in self.cases:
            case.waits = False
        self._sql(
            "UPDATE cases SET available_at = now() WHERE id = ANY(:ids)",
            ids=[case.id for case in self.cases],
        )

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        """State, level, whose it is and what stands, of every case."""
        stored = rows_of(
            self.services,
            "SELECT id, state, level, assigned_to, resolution FROM cases WHERE id = ANY(:ids)",
            ids=[case.id for case in self.cases],
        )
        assert set(stored) == {
            (
                case.id,
                case.state,
                case.level.value,
                case.assigned_to,
                case.resolution and case.resolution.value,
            )
            for case in self.cases
        }


def test_the_desk_is_as_the_model(services: Services) -> None:
    """In random orders of all that five people can do, and of time."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: DeskMachine(services),
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
