"""Passes are audited by lot: drawn once, with the probability that is stored."""

import datetime as dt
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from moderation.draws import Draws, Purpose
from moderation.quality.sampling import AuditPlan
from moderation.review.opening import Inclusion, opening, patience
from moderation.store import audit_plans, submissions, verdicts, workers
from moderation.store.audit_plans import ASSUMED_PASSES_PER_DAY, ASSUMED_PREVALENCE, Auditing
from moderation.store.cases import Route
from moderation.store.pulse import beat_and_ask
from moderation.store.workers import WorkerInfo
from moderation.types import ImageRef, NewSubmission, Outcome, Verdict
from moderation.wiring import Services
from tests.integration.desk import rows_of
from tests.integration.kept_quality import figures, keep
from workers.audit_planning import replan
from workers.auditing import Audits
from workers.upkeep import open_missed_cases

DRAWS = Draws(b"k" * 32)
DOUBTFUL = Auditing(AuditPlan(0.05, 0.8), 0.05, 200, 10_000)
EVERYTHING = Auditing(AuditPlan(1.0, 0.0), 0.05, 200, 200)


def passes(services: Services, scores: Sequence[float]) -> list[tuple[UUID, Verdict]]:
    """Accepted submissions, and the verdicts that they are to get."""
    new = [
        NewSubmission("acme", None, "default", "a ball", ImageRef(blob=f"{n:064x}"))
        for n in range(len(scores))
    ]
    with services.database.begin() as connection:
        accepted = submissions.accept(connection, new, message_id="m")
    return [
        (item.id, Verdict(Outcome.PASS, "c-1", "m", 0.35, cosine=0.3, score=score))
        for item, score in zip(accepted, scores, strict=True)
    ]


def record(
    services: Services, judged: Sequence[tuple[UUID, Verdict]], inclusion: Inclusion | None
) -> None:
    """Store verdicts as a worker does that audits so."""
    open_case = opening(DRAWS, twice_share=0.5, inclusion=inclusion)
    with services.database.begin() as connection:
        verdicts.record(connection, judged, open_case)


def audited(services: Services) -> dict[UUID, float]:
    """The probability of each audited submission."""
    found = rows_of(
        services, "SELECT submission_id, inclusion_probability FROM cases WHERE route = 'audit'"
    )
    assert len(found) == len(dict(found)), "none twice"
    return dict(found)  # type: ignore[arg-type]


def test_who_is_drawn_and_how(services: Services) -> None:
    """By their own draw below their own probability, which is stored; about as many as expected."""
    judged = passes(services, np.random.default_rng(3).beta(4, 1, 4000).tolist())
    record(services, judged, DOUBTFUL.inclusion)
    given = {id_: DOUBTFUL.inclusion(verdict.score or 0.0) for id_, verdict in judged}
    assert audited(services) == {
        id_: probability
        for id_, probability in given.items()
        if DRAWS.uniform(Purpose.AUDIT, id_) < probability
    }
    # The lots of random ids are independent: six standard deviations of a Poisson sample.
    spread = math.sqrt(sum(p * (1 - p) for p in given.values()))
    assert abs(len(audited(services)) - sum(given.values())) < 6 * spread
    doubtful = [id_ for id_, verdict in judged if (verdict.score or 0.0) < 0.5]
    expected = sum(given[id_] for id_ in doubtful)
    assert abs(len(audited(services).keys() & set(doubtful)) - expected) < 6 * math.sqrt(expected)
    for case in rows_of(services, "SELECT blind, answers_wanted, due_at - created_at FROM cases"):
        assert case == (True, 1, patience(Route.AUDIT)), "two answers only if the first is a miss"


def test_a_later_plan_changes_nothing(services: Services) -> None:
    """What was judged is neither drawn again nor taken back, whoever judges or looks once more."""
    judged = passes(services, [0.6] * 300)
    record(services, judged, DOUBTFUL.inclusion)
    before = audited(services)
    assert 0 < len(before) < 300
    for inclusion in (EVERYTHING.inclusion, None):
        record(services, judged, inclusion)
    with services.database.begin() as connection:
        audit_plans.add(connection, EVERYTHING)
    assert open_missed_cases(services) == 0, "nor is a pass missed that no worker could audit"
    assert audited(services) == before


def test_workers_with_other_plans_audit_a_post_once(services: Services) -> None:
    """Whose verdict is the first has drawn, with the probability that it stores."""
    judged = passes(services, [0.6] * 300)
    plans = [AuditPlan(share, 0.0) for share in (0.2, 0.5, 0.9)]
    inclusions = [Auditing(plan, 0.05, 200, 10_000).inclusion for plan in plans]
    batches = [judged, judged[::-1], judged[150:] + judged[:150]]
    with ThreadPoolExecutor(3) as workers:
        list(workers.map(lambda *given: record(services, *given), batches, inclusions))
    found = audited(services)
    assert len(found) > 30
    for id_, probability in found.items():
        assert DRAWS.uniform(Purpose.AUDIT, id_) < probability
        assert probability in (0.2, 0.5, 0.9)


def test_a_verdict_has_one_case_of_its_own(services: Services) -> None:
    """Not even somebody's mistake makes a second audit, or one of a flag."""
    judged = passes(services, [0.6])
    record(services, judged, EVERYTHING.inclusion)
    again = (
        "INSERT INTO cases (id, submission_id, policy, route, inclusion_probability)"
        " SELECT gen_random_uuid(), submission_id, policy, :route, 1 FROM cases"
    )
    for route in ("audit", "flagged"):
        with (
            pytest.raises(DBAPIError, match="ix_cases_one_of_a_verdict"),
            services.database.begin() as connection,
        ):
            connection.execute(text(again), {"route": route})


def now_of(services: Services) -> dt.datetime:
    """The database's time."""
    ((now,),) = rows_of(services, "SELECT now()")
    assert isinstance(now, dt.datetime)
    return now


def plan(services: Services, **changed: object) -> Auditing:
    """Plan as the scheduler does."""
    settings = services.settings.model_copy(update=changed)
    with services.database.begin() as connection:
        return replan(connection, settings, now_of(services))


def test_the_scheduler_plans_for_what_it_sees(services: Services) -> None:
    """A guess at first, then the traffic; another row only where it differs."""
    first = plan(services)
    assert (first.passes_per_day, first.plan.slope) == (ASSUMED_PASSES_PER_DAY, 0)
    assert first.prevalence == ASSUMED_PREVALENCE
    assert plan(services) == first, "nothing has changed"
    scores = np.random.default_rng(5).beta(8, 1, 2400).tolist()
    record(services, passes(services, scores), None)
    busy = plan(services)
    # In some seconds, beside what is assumed of an hour.
    assert busy.passes_per_day == pytest.approx(24 * 2400 + ASSUMED_PASSES_PER_DAY, rel=0.05)
    assert busy.inclusion(0.4) > 2 * busy.inclusion(0.99)
    with services.database.begin() as connection:
        connection.execute(text("UPDATE verdicts SET created_at = now() - interval '30 h'"))
    record(services, passes(services, scores[:1000]), None)
    assert plan(services).passes_per_day == 8000, "an hour of a thousand, in a long history"
    keep(services, figures(now_of(services)))
    assert plan(services).prevalence == 0.021, "as audits of four weeks have found it"
    keep(services, figures(now_of(services), recall=None))
    assert plan(services).prevalence == ASSUMED_PREVALENCE, "audits have found too few misses"
    none = plan(services, audit_budget_per_day=0)
    assert (none.inclusion(0.4), none.budget) == (0, 0)
    assert rows_of(services, "SELECT count(*) FROM audit_plans") == [(6,)]
    with services.database.connect() as connection:
        assert audit_plans.newest(connection) == none


def test_plans_are_kept(services: Services) -> None:
    """By which plan a case was drawn can be told years later."""
    plan(services)
    for change in ("UPDATE audit_plans SET floor = 1", "DELETE FROM audit_plans"):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            services.database.begin() as connection,
        ):
            connection.execute(text(change))


def test_no_plan_is_stored_that_nobody_could_read(services: Services) -> None:
    """Plans are never taken back: such a one would keep every worker from starting."""
    add = (
        "INSERT INTO audit_plans (floor, slope, prevalence, budget, passes)"
        " VALUES (0.1, CAST(:slope AS float8), 0.05, 200, 5000)"
    )
    for slope in ("NaN", "Infinity"):
        with (
            pytest.raises(DBAPIError, match="ck_audit_plans_probabilities"),
            services.database.begin() as connection,
        ):
            connection.execute(text(add), {"slope": slope})


def test_a_burst_costs_as_much_with_many_workers(services: Services) -> None:
    """They share what is drawn before the scheduler has planned for it; dead ones take no part."""
    ids = [UUID(int=number) for number in range(5)]
    infos = [WorkerInfo(id_, "h", 1, "m", "c-1", None, None) for id_ in ids]
    lease_s = services.settings.lease_s
    with services.database.begin() as connection:
        audit_plans.add(connection, EVERYTHING)
        for info in infos:
            workers.beat(connection, info, [])
        connection.execute(
            text("UPDATE workers SET beat_at = now() - interval '1 hour' WHERE id = :id"),
            {"id": ids[-1]},
        )
    drawn = 0.0
    autocommit = services.database.execution_options(isolation_level="AUTOCOMMIT")
    for info in infos[:-1]:
        audits = Audits(200)
        with autocommit.connect() as connection:
            news = beat_and_ask(connection, info, [], lease_s=lease_s, timeout_ms=1000)
            assert audits.is_behind(news.audit_plan_at)
            audits.look(connection)
        assert not audits.is_behind(news.audit_plan_at)
        audits.living_workers = news.living_workers
        drawn += sum(audits.inclusion(0.9) for _ in range(5000))
    assert 600 < drawn < 100 * (1 + math.log(20_000 / 100)) + 4
