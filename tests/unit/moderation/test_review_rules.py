"""When a case is settled, by whom, and what of it is to be seen."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.review.blindness import ADJUDICATING, BLIND, OPEN, Sight, sight
from moderation.review.rules import Given, Resolved, Wants, resolve
from moderation.review.words import direction, score_sentence
from moderation.store.cases import Level, Route, State
from moderation.store.decisions import Answer

YES, NO, UNSURE, UP = Answer.MISMATCH, Answer.MATCH, Answer.UNSURE, Answer.ESCALATE
MODERATOR, LEAD = Level.MODERATOR, Level.LEAD


@pytest.mark.parametrize(
    ("route", "wanted", "answers", "expected"),
    [
        (Route.FLAGGED, 1, [], Wants(1, MODERATOR)),
        (Route.FLAGGED, 1, [YES], Resolved(YES)),
        (Route.FLAGGED, 1, [UNSURE], Resolved(UNSURE)),
        (Route.FLAGGED, 1, [UP], Wants(1, LEAD)),
        (Route.FLAGGED, 2, [], Wants(2, MODERATOR)),
        (Route.FLAGGED, 2, [NO], Wants(1, MODERATOR)),
        (Route.FLAGGED, 2, [NO, NO], Resolved(NO)),
        (Route.FLAGGED, 2, [NO, YES], Wants(1, LEAD)),
        (Route.FLAGGED, 2, [NO, UNSURE], Wants(1, LEAD)),
        (Route.FLAGGED, 2, [NO, UP], Wants(1, LEAD)),
        (Route.FLAGGED, 2, [UP], Wants(1, LEAD)),
        (Route.UNSCORABLE, 1, [NO], Resolved(NO)),
        (Route.APPEAL, 1, [NO], Resolved(NO)),
        (Route.APPEAL, 1, [UP], Wants(1, LEAD)),
        (Route.AUDIT, 1, [NO], Resolved(NO)),
        (Route.AUDIT, 1, [UNSURE], Resolved(UNSURE)),
        (Route.AUDIT, 1, [YES], Wants(1, MODERATOR)),
        (Route.AUDIT, 1, [YES, YES], Resolved(YES)),
        (Route.AUDIT, 1, [YES, NO], Wants(1, LEAD)),
        (Route.GOLDEN, 1, [], Wants(1, MODERATOR)),
        (Route.GOLDEN, 1, [YES], Resolved(YES)),
        (Route.GOLDEN, 1, [UP], Resolved(UP)),
    ],
)
def test_so_many_answers_settle_a_case(
    route: Route, wanted: int, answers: list[Answer], expected: Resolved | Wants
) -> None:
    """One, two that agree, or a lead; a miss that an audit found needs a second person."""
    assert resolve(route, wanted, [Given(answer) for answer in answers]) == expected


@pytest.mark.parametrize("answer", [YES, NO, UNSURE])
def test_a_leads_answer_stands(answer: Answer) -> None:
    """Whatever others said before: after a disagreement, an escalation, three who skipped."""
    final = Given(answer, LEAD)
    for before in ([Given(YES), Given(NO)], [Given(UP)], []):
        outcome = resolve(Route.FLAGGED, 2, [*before, final], level=LEAD)
        assert outcome == Resolved(answer)
    assert resolve(Route.FLAGGED, 2, [], level=LEAD) == Wants(2, LEAD)


@given(
    route=st.sampled_from(list(Route)),
    wanted=st.integers(1, 2),
    answers=st.lists(st.sampled_from(list(Answer)), max_size=6),
)
def test_every_case_comes_to_an_end(route: Route, wanted: int, answers: list[Answer]) -> None:
    """Answered by what is asked for, a case is settled by one answer, three at most."""
    said: list[Given] = []
    outcome = resolve(route, wanted, said)
    for answer in answers:
        if isinstance(outcome, Resolved):
            break
        if outcome.level is LEAD and answer is UP:
            continue
        said.append(Given(answer, outcome.level))
        outcome = resolve(route, wanted, said, level=outcome.level)
    assert len(said) <= 3
    if isinstance(outcome, Resolved):
        assert outcome.answer in {one.answer for one in said}
    else:
        assert outcome.more >= 1


_LONG, _SHORT, _UNDO = timedelta(minutes=1), timedelta(seconds=5), timedelta(seconds=10)


@pytest.mark.parametrize(
    ("blind", "state", "level", "resolved_for", "is_lead", "expected"),
    [
        (False, State.OPEN, MODERATOR, None, False, OPEN),
        (False, State.RESOLVED, MODERATOR, _SHORT, False, OPEN),
        (True, State.OPEN, MODERATOR, None, False, BLIND),
        (True, State.HELD, MODERATOR, None, False, BLIND),
        (True, State.OPEN, LEAD, None, False, BLIND),
        (True, State.RESOLVED, MODERATOR, _LONG, False, BLIND),
        (True, State.OPEN, MODERATOR, None, True, BLIND),
        (True, State.OPEN, LEAD, None, True, ADJUDICATING),
        (True, State.HELD, LEAD, None, True, ADJUDICATING),
        (True, State.RESOLVED, MODERATOR, _SHORT, True, BLIND),
        (True, State.RESOLVED, LEAD, _SHORT, True, ADJUDICATING),
        (True, State.RESOLVED, MODERATOR, _LONG, True, OPEN),
    ],
)
def test_who_sees_what(
    blind: bool,
    state: State,
    level: Level,
    resolved_for: timedelta | None,
    is_lead: bool,
    expected: Sight,
) -> None:
    """Nobody who may still answer sees behind a blind case, and moderators never do."""
    seen = sight(
        blind=blind,
        state=state,
        level=level,
        resolved_for=resolved_for,
        is_lead=is_lead,
        undo=_UNDO,
    )
    assert seen == expected


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (0.1, "0.10, below the threshold of 0.35. Of mismatches, 9 times as many look like this"),
        (0.3, "Of mismatches, 2.3 times as many look like this as of matches."),
        (0.35, "0.35, not below the threshold of 0.35. Of mismatches, 1.9 times as many look"),
        (0.5, "A match looks like this as often as a mismatch."),
        (0.9, "0.90, not below the threshold of 0.35. Of matches, 9 times as many look like this"),
        (0.0, "0.00, below the threshold of 0.35. Almost only mismatches look like this."),
        (1.0, "1.00, not below the threshold of 0.35. Almost only matches look like this."),
    ],
)
def test_a_score_in_words(score: float, sentence: str) -> None:
    """The score is odds at even prevalence, and the sentence says which way."""
    assert sentence in score_sentence(score, 0.35)


@given(st.floats(0, 1), st.floats(0, 1))
def test_every_score_has_a_sentence(score: float, threshold: float) -> None:
    """None breaks it, and the side that it names is the verdict's."""
    assert (", below" in score_sentence(score, threshold)) == (score < threshold)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red ball", "ltr"),
        ("כדור אדום", "rtl"),
        ("كرة حمراء", "rtl"),
        ("12 – «كرة»", "rtl"),
        ("🔴 ball كرة", "ltr"),
        ("123", "ltr"),
        ("", "ltr"),
    ],
)
def test_a_captions_direction(caption: str, expected: str) -> None:
    """It is that of its first letter, as HTML has it."""
    assert direction(caption) == expected
