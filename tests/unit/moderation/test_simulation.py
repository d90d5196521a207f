"""The simulated world, its people, and what is reckoned of them: nothing of it needs a server."""

import datetime as dt
import io
from collections import Counter
from uuid import uuid4

import numpy as np
import pytest
from rich.console import Console

from moderation.quality.figures import Quality
from moderation.quality.shares import Estimate
from moderation.review.rules import Resolved, Wants
from moderation.simulation.report import Report, report
from moderation.simulation.reviewers import Decided, OpenCase, Opened, Reviewers, decide_all
from moderation.simulation.tallies import ByHand, Tallies
from moderation.simulation.traffic import World, ids_of, posts_of_day
from moderation.simulation.words import sentences, table
from moderation.simulation.year import Measured, Setup
from moderation.store.cases import Level, Route
from moderation.store.decisions import Answer
from moderation.store.ingested import came_in_at
from moderation.types import Outcome, PairScore
from moderation.verdict import decide

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LAG = dt.timedelta(days=1)
PERFECT = Reviewers(sensitivity=1, specificity=1, late=0, by_priority=False, lag=LAG)


def _cases(n: int, route: Route, *, is_mismatch: bool, wanted: int = 1) -> list[OpenCase]:
    opened = [Opened(uuid4(), route, wanted, 0.5) for _ in range(n)]
    return [
        OpenCase(each, uuid4(), START, score=i / n, is_mismatch=is_mismatch)
        for i, each in enumerate(opened)
    ]


def _settled(decided: list[Decided]) -> Counter[Answer]:
    return Counter(each.then.answer for each in decided if isinstance(each.then, Resolved))


@pytest.mark.parametrize(("prevalence", "threshold"), [(0.1, 0.35), (0.5, 0.1), (0.02, 0.8)])
def test_the_truth_is_that_of_the_posts(prevalence: float, threshold: float) -> None:
    """Precision and recall by formula are those that verdicts on very many posts have."""
    world = World(30_000, prevalence, threshold)
    posts = posts_of_day(world, START, np.random.default_rng(1))
    pairs = [PairScore(cosine) for cosine in posts.cosines.tolist()]
    is_flag = np.array([decide(p, world.calibration).outcome is Outcome.FLAG for p in pairs])
    for truth, of, among in (
        (world.recall, is_flag, posts.is_mismatch),
        (world.precision, posts.is_mismatch, is_flag),
        (world.false_alarm_rate, is_flag, ~posts.is_mismatch),
        (world.flag_rate, is_flag, np.ones(len(posts), np.bool_)),
        (world.prevalence, posts.is_mismatch, np.ones(len(posts), np.bool_)),
    ):
        chance = 4.5 * np.sqrt(truth * (1 - truth) / among.sum())
        assert of[among].mean() == pytest.approx(truth, abs=chance)


def test_at_the_usual_threshold_the_world_is_as_the_reference() -> None:
    """Of mismatches 89.5 % are found, and of evenly mixed pairs 93.7 % are told right."""
    world = World(1, 0.5, 0.35)
    assert world.recall == pytest.approx(0.895, abs=5e-4)
    assert (world.recall + 1 - world.false_alarm_rate) / 2 == pytest.approx(0.937, abs=5e-4)


def test_ids_tell_when_posts_came_in() -> None:
    """An id is a UUIDv7 of its post's time, the same for the same seed and else another."""
    world = World(500, 0.1, 0.35)
    one, same, other = (posts_of_day(world, START, np.random.default_rng(s)) for s in (1, 1, 2))
    assert [came_in_at(id_) for id_ in one.ids] == one.at == sorted(one.at)
    assert one.at[0] >= START
    assert one.at[-1] < START + dt.timedelta(days=1)
    assert {id_.version for id_ in one.ids} == {7}
    assert {id_.variant for id_ in one.ids} == {"specified in RFC 4122"}
    assert len(set(one.ids)) == len(one)
    assert one.ids == same.ids
    assert not set(one.ids) & set(other.ids)
    assert ids_of([], np.random.default_rng(1)) == []


def test_people_who_never_err_say_the_truth() -> None:
    """Whatever is settled is so by the truth, or by nobody's being sure."""
    for is_mismatch, right in ((True, Answer.MISMATCH), (False, Answer.MATCH)):
        for route in (Route.FLAGGED, Route.AUDIT):
            cases = _cases(3000, route, is_mismatch=is_mismatch)
            settled = _settled(decide_all(cases, PERFECT, np.random.default_rng(1)))
            assert settled.total() == 3000
            assert set(settled) == {right, Answer.UNSURE}
            assert settled[right] > 2850


def test_a_miss_is_confirmed_by_somebody_else() -> None:
    """An audited pass that one calls a mismatch is settled by another, or by a lead."""
    cases = _cases(500, Route.AUDIT, is_mismatch=True)
    people = Reviewers(0.8, 1, 0, False, LAG)
    decided = decide_all(cases, people, np.random.default_rng(3))
    by_case: dict[object, list[Decided]] = {}
    for each in decided:
        by_case.setdefault(each.case.opened.id, []).append(each)
    lengths = Counter(len(answers) for answers in by_case.values())
    assert set(lengths) == {1, 2, 3}
    for answers in by_case.values():
        assert [each.at for each in answers] == sorted(each.at for each in answers)
        assert len({each.decided_by for each in answers}) == len(answers)
        assert all(isinstance(each.then, Wants) for each in answers[:-1])
        assert (answers[0].answer is Answer.MISMATCH) == (len(answers) > 1)
        assert [each.level is Level.LEAD for each in answers] == [False, False, True][
            : len(answers)
        ]


@pytest.mark.parametrize("specificity", [0.999, 0.99])
def test_the_second_person_keeps_mistakes_from_outnumbering_misses(specificity: float) -> None:
    """Taken at one person's word, 2 in 200 passes are misses; confirmed, hardly any is."""
    cases = _cases(15_000, Route.AUDIT, is_mismatch=False)
    people = Reviewers(1, specificity, 0, False, LAG)
    decided = decide_all(cases, people, np.random.default_rng(4))
    firsts = sum(each.is_first and each.answer is Answer.MISMATCH for each in decided)
    wrong = 1 - specificity
    assert firsts == pytest.approx(15_000 * wrong, rel=0.25)
    # Either the second errs as well, or the lead does.
    assert _settled(decided)[Answer.MISMATCH] <= 15_000 * 2 * wrong**2 + 8


@pytest.mark.parametrize("late", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("by_priority", [False, True])
def test_so_many_answers_are_late(late: float, by_priority: bool) -> None:
    """The stated share of answers comes after the lag, by priority those to high scores."""
    people = Reviewers(1, 1, late, by_priority, LAG)
    cases = _cases(4000, Route.FLAGGED, is_mismatch=False)
    decided = decide_all(cases, people, np.random.default_rng(5))
    is_late = np.array([each.at - START > LAG for each in decided])
    # More than all cannot be late: of the least sure, some are not later than they would be.
    wanted = 1 - 0.25 / late if by_priority and late > 0.5 else late
    # Of the others some take as long.
    assert is_late.mean() == pytest.approx(wanted + 0.0065 * (1 - wanted), abs=0.03)
    surer, less_sure = is_late[:2000].mean(), is_late[2000:].mean()
    if by_priority and late:
        assert less_sure > surer + 0.2
    else:
        assert less_sure == pytest.approx(surer, abs=0.04)


def test_by_hand() -> None:
    """The naive figures are shares of settled cases, and one person's misses have weights."""
    flags = _cases(1000, Route.FLAGGED, is_mismatch=True)
    audits = _cases(100, Route.AUDIT, is_mismatch=True)
    alarms = _cases(300, Route.FLAGGED, is_mismatch=False)
    rest = _cases(600, Route.AUDIT, is_mismatch=False)
    tallies = Tallies()
    counts = []
    for day, cases in enumerate((flags, audits, alarms, rest)):
        decided = decide_all(cases, PERFECT, np.random.default_rng(day))
        tallies.add(day, decided)
        counts.append(_settled(decided).total() - _settled(decided)[Answer.UNSURE])
    hits, misses, false, _ = counts
    by_hand = tallies.of(range(4))
    assert by_hand.precision == hits / (hits + false)
    assert by_hand.recall == hits / (hits + misses)
    assert by_hand.prevalence == (hits + misses) / sum(counts)
    assert by_hand.recall_of_one == pytest.approx(1000 / 1200, abs=0.01)
    assert tallies.of(range(4, 9)) == ByHand(None, None, None, None)
    assert tallies.of(range(1)).recall == 1


def _report(held: int, windows: int) -> Report:
    """A report on windows of a day; so many of their intervals hold the true recall."""
    world = World(3000, 0.1, 0.35)
    unknown = Estimate(None, None, None, "too few")
    at = Estimate(world.precision, world.precision - 0.1, world.precision + 0.1)
    measured = []
    for i in range(windows):
        shift = 0.0 if i < held else 0.2
        recall = Estimate(*(world.recall + shift + d for d in (0, -0.1, 0.1)))
        # 95 % of them, which is as it should be.
        precision = at if i % 20 else Estimate(0.1, 0.0, 0.2)
        quality = Quality(precision, recall, unknown, unknown, unknown, 1, 1, 1, 1, 1)
        measured.append(Measured(1, quality, ByHand(0.5, 1.0, 0.829, None)))
    return report(Setup(world, PERFECT, windows, 600, 1), measured, seconds=1)


def test_a_report_says_how_often_intervals_held() -> None:
    """Coverage, bias and the naive bias are those of the windows that have an estimate."""
    found = _report(held=285, windows=300)
    recall, document = found.row("recall"), found.to_document()
    assert (recall.windows, recall.coverage) == (300, 0.95)
    assert recall.bias == pytest.approx(0.2 * 15 / 300)
    assert recall.naive_bias == pytest.approx(1 - recall.truth)
    assert document["windows"] == 300
    assert document["coverage"]["recall"] == 0.95
    assert document["naive_bias"]["precision"] == pytest.approx(0.5 - found.setup.world.precision)
    assert document["by_window"]["28d"]["recall"]["windows"] == 0
    assert document["by_window"]["1d"]["prevalence"]["windows_without_estimate"] == 300


@pytest.mark.parametrize(
    ("held", "windows", "holds"),
    [(285, 300, True), (275, 300, False), (300, 300, False), (100, 299, True)],
)
def test_enough_windows_are_a_proof(held: int, windows: int, holds: bool) -> None:
    """From 300 windows on, intervals that hold too rarely or too often are said to be wrong."""
    found = _report(held, windows)
    assert found.holds is holds
    told = " ".join(sentences(found))
    assert ("which is not the 92 to 98 % that it should" in told) is not holds
    assert ("300 are needed" in told) is (windows < 300)


def test_a_table_fits_a_terminal() -> None:
    """All figures of all windows stand in 80 columns, the naive ones beside ours."""
    shown = io.StringIO()
    Console(width=80, file=shown).print(table(_report(285, 300)))
    lines = shown.getvalue().splitlines()
    assert len(lines) == 10
    assert "…" not in "".join(lines)
    assert lines[0].split()[:5] == ["window", "known", "true", "ours", "bias"]
    assert lines[4].split()[:2] == ["recall", "1"]
    assert "95.0 %" in lines[4]
    assert "+10.5" in lines[4]


def test_a_table_of_extremes_fits_too() -> None:
    """Where all intervals held and nothing was audited."""
    shown = io.StringIO()
    Console(width=80, file=shown).print(table(_report(300, 300)))
    assert "…" not in shown.getvalue()
    assert "+72.9" in shown.getvalue()
    assert " 100 % " in shown.getvalue()
