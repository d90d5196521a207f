"""Precision and recall from the tables: what counts, in which window, and of whom."""

import datetime as dt
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from moderation.quality.estimates import FEWEST_MISSES
from moderation.quality.figures import WINDOWS, Figures, Quality, Said, Scope
from moderation.quality.measure import MOST_SCOPES, measure
from moderation.settings import Settings
from moderation.store import verdict_counts
from moderation.store.cases import Route
from moderation.store.history import Period, decided
from moderation.store.reviewed import reviewed
from moderation.store.users import Role
from moderation.store.verdict_counts import Kinds
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.answers import answer_as
from tests.integration.desk import add_case, desk_with, reviewer
from tests.integration.test_appeals import appeal, submission_of
from tests.integration.test_claims import token_of
from tests.integration.test_undo import MISMATCH
from tests.integration.traffic import NOW, Case, Past, store

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
LAG = DAY
AT = NOW + dt.timedelta(minutes=20)
# The hour that has begun when the lag begins is the last that counts.
UNTIL = NOW - LAG + HOUR


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions stand at once."""
    return settings.model_copy(update={"review_undo_s": 0.0})


def keep(services: Services, past: Sequence[Past]) -> None:
    """Store what came in."""
    with services.database.begin() as connection:
        store(connection, past, now=NOW)


def measured(
    services: Services, at: dt.datetime = AT, lag: dt.timedelta = LAG, days: Sequence[int] = WINDOWS
) -> Figures:
    """What is measured at a moment."""
    autocommit = services.database.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        return measure(connection, now=at, lag=lag, windows=days)


def measured_now(services: Services) -> Quality:
    """What is known of the last day, its last minute included."""
    return measured(services, dt.datetime.now(dt.UTC), dt.timedelta(0), [1]).of[Scope(1)]


def traffic(seed: int) -> list[Past]:
    """Much of a day and a little of four weeks, all decided; of two policies and calibrations."""
    rng = np.random.default_rng(seed)

    def one(age: dt.timedelta, policy: str) -> Past:
        score = rng.random()
        is_mismatch = rng.random() < (0.8 if score < 0.3 else 0.15)
        truth = "unsure" if rng.random() < 0.02 else "mismatch" if is_mismatch else "match"
        cases = []
        outcome = "pass"
        if score < 0.3:
            outcome, cases = "flag", [Case("flagged", 1.0, [truth])]
            if rng.random() < 0.1:
                cases.append(
                    Case("appeal", 1.0, [str(rng.choice(["match", "mismatch", "unsure"]))])
                )
        elif rng.random() < (probability := float(rng.choice([0.3, 0.6, 0.9]))):
            answers = ["mismatch", "mismatch"] if truth == "mismatch" else [truth]
            cases = [Case("audit", probability, answers)]
        version = "c-old" if age > 6 * DAY else "c-new"
        return Past(0.2, outcome, "m", age, policy, version, cases=cases, score=score)

    return [
        one(LAG - HOUR + rng.random() * DAY * (1 if n % 3 else 28), policy)
        for policy in ("ads", "news")
        for n in range(900)
    ] + [Past(None, "unscorable", "m", 2 * DAY)] * 20


def standing(one: Past) -> str | None:
    """What stands on a submission whose cases are all settled: the last clear answer."""
    said = [case.resolution for case in one.cases if case.route != "golden" and case.resolution]
    clear = [answer for answer in said if answer in ("mismatch", "match")]
    return clear[-1] if clear else said[-1] if said else None


def computed(past: Sequence[Past]) -> tuple[float, float, float]:
    """Precision, recall and prevalence where all is decided, by the textbook."""
    flags = Counter(standing(one) for one in past if one.outcome == "flag")
    hits, alarms = flags["mismatch"], flags["match"]
    missed = right = 0.0
    for _, group in itertools.groupby(sorted(past, key=lambda o: o.policy), lambda o: o.policy):
        passes = [one for one in group if one.outcome == "pass"]
        weights: defaultdict[str | None, float] = defaultdict(float)
        for one in passes:
            for case in one.cases:
                weights[standing(one)] += 1 / case.probability
        share = len(passes) / sum(weights.values()) if weights else 0.0
        missed += share * weights["mismatch"]
        right += share * weights["match"]
    mismatches = hits + missed
    return hits / (hits + alarms), hits / mismatches, mismatches / (mismatches + alarms + right)


def scopes(past: Sequence[Past]) -> Iterator[tuple[Scope, list[Past]]]:
    """What came in each window, of all and of each policy and calibration."""
    for days in WINDOWS:
        came_in = [one for one in past if UNTIL - days * DAY <= NOW - one.age < UNTIL]
        yield Scope(days), came_in
        for name in {one.policy for one in came_in if one.outcome != "unscorable"}:
            yield Scope(days, policy=name), [one for one in came_in if one.policy == name]
        for name in {one.version for one in came_in if one.outcome != "unscorable"}:
            of_version = [one for one in came_in if one.version == name]
            yield Scope(days, calibration_version=name), of_version


def test_flags_of_small_policies_are_judged_by_others_of_the_same_score(services: Services) -> None:
    """Not by their own surest ones, which are decided first and more often mismatches."""

    def flags(policy: str, score: float, answers: Sequence[str | None]) -> list[Past]:
        return [
            Past(
                *(0.2, "flag", "m", LAG, policy),
                cases=[Case("flagged", 1.0, [answer] if answer else [])],
                score=score,
            )
            for answer in answers
        ]

    past = [
        *flags("ads", 0.05, ["mismatch"] * 40),
        *flags("ads", 0.3, ["match"] * 30 + ["mismatch"] * 10 + [None] * 10),
    ]
    for n in range(5):
        past += flags(f"small-{n}", 0.05, ["mismatch"] * 10)
        past += flags(f"small-{n}", 0.3, ["match"] * 3 + ["mismatch"] + [None] * 8)
    keep(services, past)
    precision = measured(services).of[Scope(1)].precision
    # Of 110 flags of the higher score a quarter are mismatches, as of those decided on.
    assert precision.point == pytest.approx((90 + 110 / 4) / 200, abs=0.005)


def test_what_is_measured_is_what_the_decisions_say(services: Services) -> None:
    """Of all, and of each policy and calibration, in each window: nothing more and nothing less."""
    past = traffic(seed=6)
    keep(services, past)
    found = measured(services).of
    expected = dict(scopes(past))
    assert found.keys() == expected.keys()
    assert {Scope(1, calibration_version="c-old")} & found.keys() == set()
    for scope, came_in in expected.items():
        quality = found[scope]
        outcomes = Counter(one.outcome for one in came_in)
        assert (quality.flags, quality.passes) == (outcomes["flag"], outcomes["pass"])
        assert quality.audits == sum(one.outcome == "pass" and bool(one.cases) for one in came_in)
        assert quality.answered_flags == quality.flags
        precision, recall, prevalence = computed(came_in)
        assert quality.precision.point == pytest.approx(precision, rel=1e-9)
        if quality.found_misses >= FEWEST_MISSES:
            assert quality.recall.point == pytest.approx(recall, rel=1e-9)
            assert quality.prevalence.point == pytest.approx(prevalence, rel=1e-9)
    unknown = [scope for scope, quality in found.items() if quality.recall.point is None]
    assert len(unknown) <= 2


def test_windows_are_of_ingestion_and_have_whole_hours(services: Services) -> None:
    """Whenever it was judged, what came in counts from the hour on in which the lag begins."""
    last = Past(0.2, "pass", "m", NOW - UNTIL + dt.timedelta(milliseconds=1))
    too_late = Past(0.2, "flag", "m", NOW - UNTIL)
    a_week_ago = Past(0.2, "pass", "m", NOW - UNTIL + 7 * DAY)
    earlier = Past(0.2, "pass", "m", NOW - UNTIL + 7 * DAY + dt.timedelta(milliseconds=1))
    keep(services, [last, too_late, a_week_ago, earlier])
    with services.database.begin() as connection:
        connection.exec_driver_sql("UPDATE verdicts SET created_at = '2026-01-01Z'")
    for moment in (AT, NOW + dt.timedelta(microseconds=1), NOW + HOUR):
        found = measured(services, moment).of
        counts = [(found[Scope(days)].flags, found[Scope(days)].passes) for days in WINDOWS]
        assert counts == [(0, 1), (0, 2), (0, 3)]
    # At the full hour, the hour that begins then is not older than the lag.
    assert measured(services, NOW).of[Scope(1)].passes == 0
    assert measured(services, AT + HOUR).of[Scope(1)].flags == 1


def test_an_hour_counts_again_until_all_of_it_is_judged(services: Services) -> None:
    """A verdict that comes late is in the figures; what is whole is not counted anew."""
    keep(services, [Past(0.2, "pass", "m", 2 * DAY), Past(0.2, "flag", "m", 3 * DAY)])
    take = (
        "WITH late AS (DELETE FROM verdicts WHERE outcome = 'pass' RETURNING *)"
        "INSERT INTO taken SELECT * FROM late"
    )
    with services.database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE taken AS SELECT * FROM verdicts LIMIT 0")
        connection.exec_driver_sql(take)
        connection.exec_driver_sql(
            "UPDATE submissions SET done_at = NULL WHERE id IN (SELECT submission_id FROM taken)"
        )
    assert measured(services).of[Scope(7)].passes == 0
    with services.database.begin() as connection:
        connection.exec_driver_sql("INSERT INTO verdicts SELECT * FROM taken")
        connection.exec_driver_sql("UPDATE submissions SET done_at = now()")
    assert measured(services).of[Scope(7)].passes == 1
    with services.database.connect() as connection:
        again = verdict_counts.roll_up(connection, UNTIL - 7 * DAY, UNTIL, now=AT)
    assert again == 0


def test_an_hour_is_not_whole_before_it_is_over(services: Services) -> None:
    """Three hours after its end: what was accepted in it may not be stored before."""
    keep(services, [Past(0.2, "pass", "m", HOUR)])
    begins = NOW - HOUR
    counted = []
    for minutes in (30, 239, 240, 241):
        with services.database.begin() as connection:
            now = begins + dt.timedelta(minutes=minutes)
            counted.append(verdict_counts.roll_up(connection, begins, NOW, now=now))
    assert counted == [1, 1, 1, 0]


def test_what_a_late_clock_stamps_is_counted(services: Services) -> None:
    """An API server whose clock is two hours behind adds to hours that are over."""
    for came_in in (1, 2):
        keep(services, [Past(0.2, "flag", "m", 2 * HOUR, cases=[Case("flagged", 1.0, ["match"])])])
        found = measured(services, AT, dt.timedelta(0), [1]).of[Scope(1)]
        assert (found.flags, found.answered_flags) == (came_in, came_in)


def test_an_undone_decision_was_never_made(services: Services) -> None:
    """Its case waits again."""
    desk, mia = desk_with(services, review_undo_s=60), reviewer(services, "mia")
    add_case(services)
    made = desk.decide(mia, token_of(desk.next_case(mia)), MISMATCH)
    assert measured_now(services).answered_flags == 1
    desk.undo(mia, made.decision_id)
    assert measured_now(services).answered_flags == 0


def test_an_appeal_overrules_what_stood(api: Api) -> None:
    """And settles a flag that nobody had begun with."""
    services = api.services
    case_id = add_case(services)
    answer_as(api, "mia", "mismatch", case_id)
    assert measured_now(services).precision.point == 1.0
    assert appeal(api, submission_of(api, case_id)).status_code == 201
    assert measured_now(services).precision.point == 1.0
    answer_as(api, "bob", "match")
    assert measured_now(services).precision.point == 0.0
    waits = add_case(services)
    assert appeal(api, submission_of(api, waits)).status_code == 201
    assert measured_now(services).answered_flags == 1
    answer_as(api, "bob", "mismatch")
    quality = measured_now(services)
    assert (quality.answered_flags, quality.precision.point) == (2, 0.5)


def test_a_miss_counts_when_a_second_person_finds_it_too(api: Api) -> None:
    """Until then nobody knows; where the two differ, a lead says what it is."""
    services = api.services
    confirmed, denied = (
        add_case(services, route=Route.AUDIT, inclusion_probability=0.5) for _ in range(2)
    )
    for case_id in (confirmed, denied):
        answer_as(api, "mia", "mismatch", case_id)
    quality = measured_now(services)
    assert (quality.audits, quality.found_misses, quality.passes) == (0, 0, 2)
    answer_as(api, "bob", "mismatch", confirmed)
    answer_as(api, "bob", "match", denied)
    quality = measured_now(services)
    assert (quality.audits, quality.found_misses) == (1, 1)
    answer_as(api, "lea", "match", denied, role=Role.LEAD)
    quality = measured_now(services)
    assert (quality.audits, quality.found_misses) == (2, 1)


def test_golden_cases_are_not_of_the_traffic(services: Services) -> None:
    """Nor are appeals against what passed and was not audited: nobody knows how likely they are."""
    keep(
        services,
        [
            Past(0.2, "pass", "m", 2 * DAY, cases=[Case("golden", 1.0, ["mismatch"])]),
            Past(0.2, "pass", "m", 2 * DAY, cases=[Case("appeal", 1.0, ["mismatch"])]),
            Past(0.2, "flag", "m", 2 * DAY, cases=[Case("golden", 1.0, ["mismatch"])]),
            Past(None, "unscorable", "m", 2 * DAY, cases=[Case("unscorable", 1.0, ["mismatch"])]),
        ],
    )
    quality = measured(services).of[Scope(28)]
    assert (quality.flags, quality.passes) == (1, 2)
    assert (quality.audits, quality.answered_flags, quality.found_misses) == (0, 0, 0)


def test_what_stands_is_what_calibration_takes(services: Services) -> None:
    """Whatever cases a submission has, and in whatever order they were settled."""
    rng = np.random.default_rng(1)
    clear = ["mismatch", "match"]

    def case(route: str, probability: float) -> Case:
        answers = [str(rng.choice([*clear, "unsure"])) for _ in range(rng.integers(4))]
        return Case(route, probability, answers, waits=rng.random() < 0.2)

    past = []
    for number in range(400):
        is_flag = number % 2 == 0
        probability = 1.0 if is_flag else float(rng.choice([0.1, 0.5]))
        cases = [case("flagged" if is_flag else "audit", probability)]
        cases += [case(str(rng.choice(["appeal", "golden"])), 1.0) for _ in range(rng.integers(3))]
        cases = [cases[place] for place in rng.permutation(len(cases))]
        past.append(Past(0.2, "flag" if is_flag else "pass", "m", 2 * DAY, cases=cases))
    keep(services, past)
    with services.database.connect() as connection:
        period = Period(NOW - 5 * DAY, NOW)
        one = decided(connection, period, model="m")
        other = reviewed(connection, [period.since], period.until, Kinds(["default"], []))
    expected = Counter(zip(one.is_flagged, one.is_mismatch, one.weights.round(9), strict=True))
    found: Counter[tuple[object, ...]] = Counter()
    for flagged, said, weight, cases_ in zip(
        ~other.is_audit, other.settled, (1 / other.probabilities).round(9), other.cases, strict=True
    ):
        if said in (Said.MISMATCH, Said.MATCH):
            found[flagged, said == Said.MISMATCH, weight] += int(cases_)
    assert found == expected
    assert other.cases.sum() == 400


def test_first_and_second_answers_are_told_apart(services: Services) -> None:
    """In the order of time; a case that waits has none or one."""
    keep(
        services,
        [
            Past(0.2, "flag", "m", 2 * DAY, cases=[Case("flagged", 1.0, answers, waits=True)])
            for answers in ([], ["match"], ["mismatch", "match"], ["escalate", "unsure", "match"])
        ],
    )
    # A case's answers were given at one time; then the order is that of their ids.
    with services.database.connect() as connection:
        found = reviewed(connection, [NOW - 5 * DAY], NOW, Kinds([], []))
    said = {
        (Said(one).name, Said(other).name)
        for one, other in zip(found.first, found.second, strict=True)
    }
    assert said == {
        ("NOTHING", "NOTHING"),
        ("MATCH", "NOTHING"),
        ("MISMATCH", "MATCH"),
        ("ESCALATE", "UNSURE"),
    }
    assert not found.settled.any()


def test_however_many_policies_there_are_the_figures_are_few(services: Services) -> None:
    """Those with most traffic have figures of their own; all count in what is overall."""
    names = [f"p{number:03}" for number in range(MOST_SCOPES + 10)]
    keep(
        services,
        [
            Past(0.2, "flag", "m", 2 * DAY, policy=name, cases=[Case("flagged", 1.0, ["match"])])
            for number, name in enumerate(names)
            for _ in range(1 + (number >= 10))
        ],
    )
    found = measured(services, days=[28]).of
    assert {scope.policy for scope in found if scope.policy} == set(names[10:])
    assert found[Scope(28)].flags == found[Scope(28)].answered_flags == 2 * MOST_SCOPES + 10


def test_without_any_traffic_there_are_reasons(services: Services) -> None:
    """And nothing of any policy."""
    found = measured(services).of
    assert found.keys() == {Scope(days) for days in WINDOWS}
    assert all(quality.precision.point is None for quality in found.values())
    assert all(quality.recall.reason for quality in found.values())
