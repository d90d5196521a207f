"""Which verdict opens which case, and how long it may wait."""

import math
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.draws import Draws, Purpose
from moderation.review.opening import case_for, given_up, opening, patience
from moderation.store.cases import NewCase, Route
from moderation.types import Outcome, Reason, Verdict

ID = UUID("01a1ffcc-0000-7000-8000-000000000001")
SCORES = st.floats(0, 1)


def verdict(
    outcome: Outcome, *, score: float | None = None, reason: Reason | None = None
) -> Verdict:
    """A verdict of this outcome."""
    return Verdict(outcome, "c-1", "m", 0.35, score=score, reason=reason)


@pytest.mark.parametrize(
    ("route", "score", "hours"),
    [
        (Route.APPEAL, None, 0.5),
        (Route.APPEAL, 0.0, 0.5),
        (Route.FLAGGED, 0.0, 1.0),
        (Route.FLAGGED, 0.1, 5.6),
        (Route.FLAGGED, 0.25, 12.5),
        (Route.FLAGGED, 0.35, 17.1),
        (Route.FLAGGED, 0.5, 24.0),
        (Route.FLAGGED, 0.9, 24.0),
        (Route.FLAGGED, None, 24.0),
        (Route.UNSCORABLE, None, 24.0),
        (Route.AUDIT, None, 24.0),
        (Route.AUDIT, 0.0, 24.0),
        (Route.GOLDEN, 0.0, 24.0),
    ],
)
def test_how_long_a_case_may_wait(route: Route, score: float | None, hours: float) -> None:
    """An appeal least, then what is most surely a mismatch; a hidden score changes nothing."""
    assert patience(route, score) / timedelta(hours=1) == pytest.approx(hours)


@given(SCORES, SCORES)
def test_of_two_flagged_cases_the_surer_one_waits_less(one: float, other: float) -> None:
    """At one age the order is the posterior's."""
    surer, less_sure = sorted((one, other))
    assert patience(Route.FLAGGED, surer) <= patience(Route.FLAGGED, less_sure)


@given(
    st.tuples(st.sampled_from(Route), st.none() | SCORES),
    st.tuples(st.sampled_from(Route), st.none() | SCORES),
)
def test_nothing_is_overtaken_by_what_comes_a_day_later(
    first: tuple[Route, float | None], later: tuple[Route, float | None]
) -> None:
    """Whatever comes meanwhile, a case's turn comes."""
    assert patience(*first) < timedelta(days=1) + patience(*later)


def test_a_pass_opens_no_case() -> None:
    """Whatever the lot says."""
    for twice in (True, False):
        assert case_for(ID, verdict(Outcome.PASS, score=0.9), twice=twice) is None


def test_what_is_flagged_is_seen_with_its_score_or_by_two_who_do_not_see_it() -> None:
    """One answer is enough, but for those that the lot has drawn."""
    flagged = verdict(Outcome.FLAG, score=0.1)
    assert case_for(ID, flagged, twice=False) == NewCase(
        ID, Route.FLAGGED, due_in=patience(Route.FLAGGED, 0.1)
    )
    assert case_for(ID, flagged, twice=True) == NewCase(
        ID, Route.FLAGGED, due_in=patience(Route.FLAGGED, 0.1), blind=True, answers_wanted=2
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_opens_a_case_that_says_whether_there_can_be_an_image(reason: Reason) -> None:
    """Of a sound image there will be a copy; of one that cannot be had there is a sentence why."""
    case = case_for(ID, verdict(Outcome.UNSCORABLE, reason=reason), twice=False)
    assert case is not None
    assert case.route is Route.UNSCORABLE
    assert (case.blind, case.answers_wanted) == (False, 1)
    is_hopeless = reason.value.startswith("image_") and reason is not Reason.IMAGE_UNREACHABLE
    assert (case.copy_problem is not None) == is_hopeless
    assert given_up(reason).endswith(".")


@given(st.binary(min_size=32, max_size=32), st.floats(0, 1))
def test_the_share_decided_twice_is_drawn_by_lot(key: bytes, share: float) -> None:
    """About the share asked for; the same ones for every worker, none or all at the ends."""
    ids = [UUID(int=n) for n in range(400)]
    flagged = verdict(Outcome.FLAG, score=0.1)
    open_case = opening(Draws(key), twice_share=share)
    drawn = [case.blind for id_ in ids if (case := open_case(id_, flagged)) is not None]
    assert drawn == [Draws(key).uniform(Purpose.TWICE, id_) < share for id_ in ids]
    # Six standard errors: one key in hundreds of millions would be beyond.
    assert abs(sum(drawn) / 400 - share) <= 6 * math.sqrt(share * (1 - share) / 400) + 1e-9


def test_draws_for_one_purpose_tell_nothing_of_another() -> None:
    """Nor do draws by another key, and the key is not shown."""
    draws = Draws(b"k" * 32)
    ids = [UUID(int=n) for n in range(1000)]
    twice = [draws.uniform(Purpose.TWICE, id_) for id_ in ids]
    for others in (
        [draws.uniform(Purpose.AUDIT, id_) for id_ in ids],
        [Draws(b"l" * 32).uniform(Purpose.TWICE, id_) for id_ in ids],
    ):
        both = sum(a < 0.5 and b < 0.5 for a, b in zip(twice, others, strict=True))
        assert 170 < both < 330
    assert all(0 <= draw < 1 for draw in twice)
    assert "k" * 8 not in repr(draws)
