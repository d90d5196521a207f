"""The dashboard's figures: right to the last case, and silent where a role may not know."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, text
from uuid_utils.compat import uuid7

from moderation.review import dashboard_figures
from moderation.store.cases import Route
from moderation.store.review_tables import appeals, cases, claims, decisions, undone_decisions
from moderation.store.tables import calibrations, publications, submissions, verdicts
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import add_case, add_user, signed_in


def noon() -> datetime:
    """Today's, when it is asked for: a run of all tests may last past midnight."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look counts anew: tests change what is counted within a minute."""
    monkeypatch.setattr(dashboard_figures, "_FRESH_S", 0.0)


def look(api: Api, role: Role = Role.MODERATOR) -> Any:
    """The dashboard as somebody of that role sees it."""
    with signed_in(api, f"the-{role}", role) as client:
        answer = client.get("/v1/review/dashboard")
    assert answer.status_code == 200, answer.text
    return answer.json()


def judge(services: Services, at: datetime, **outcomes: int) -> None:
    """Store so many verdicts of each outcome at a time."""
    with services.database.begin() as connection:
        for outcome, n in outcomes.items():
            ids = [uuid7() for _ in range(n)]
            connection.execute(
                insert(submissions),
                [
                    {"id": id_, "platform": "acme", "policy": "default", "caption": "x",
                     "image_blob": "0", "message_id": "m", "created_at": at, "done_at": at}
                    for id_ in ids
                ],
            )  # fmt: skip
            unscorable = outcome == "unscorable"
            connection.execute(
                insert(verdicts),
                [
                    {"submission_id": id_, "outcome": outcome, "threshold": 0.35, "model": "m",
                     "reason": "image_corrupt" if unscorable else None, "created_at": at,
                     "score": None if unscorable else 0.5, "calibration_version": "c"}
                    for id_ in ids
                ],
            )  # fmt: skip


def decide(
    services: Services,
    case_id: UUID,
    answer: str,
    at: datetime,
    *,
    took_s: float = 0.0,
    by: str = "ann",
    is_batch: bool = False,
) -> UUID:
    """A decision of the past with its claim; it settles the case."""
    claim_id, id_ = uuid7(), uuid7()
    add_user(services, by)
    begun = at - timedelta(seconds=took_s)
    with services.database.begin() as connection:
        connection.execute(
            insert(claims).values(
                id=claim_id, case_id=case_id, user_name=by, created_at=begun, expires_at=at,
                ended_at=at, ending="decided",
            )
        )  # fmt: skip
        connection.execute(
            insert(decisions).values(
                id=id_, case_id=case_id, answer=answer, decided_by=by, created_at=at,
                claim_id=claim_id, batch_id=uuid7() if is_batch else None,
            )
        )  # fmt: skip
        connection.execute(
            cases.update()
            .where(cases.c.id == case_id)
            .values(state="resolved", resolution=answer, resolved_at=at)
        )
    return id_


def test_an_empty_desk_has_a_dashboard(api: Api) -> None:
    """Without a case, a verdict or a decision there are 28 days of nothing, and no error."""
    found = look(api, Role.LEAD)
    assert found["waiting"] == []
    assert len(found["days"]) == 28
    assert found["days"][-1]["day"] == datetime.now(UTC).date().isoformat()
    assert found["flag_rate"] == {
        "n": 0, "point": None, "lower": None, "upper": None, "has_too_few": True,
    }  # fmt: skip
    assert (found["handling_s"], found["undecidable"]) == (None, 0)
    with signed_in(api, "lea", Role.LEAD) as lea:
        page = lea.get("/review/dashboard").text
    assert "Nothing waits." in page
    assert "<svg" not in page.partition("<main")[2]


@pytest.mark.parametrize("role", Role)
def test_what_waits_does_not_tell_blind_routes_apart(api: Api, role: Role) -> None:
    """Audit, golden and twice-decided cases are `others`, for every role."""
    ages_h = (1, 3, 8)
    with api.services.database.begin() as connection:
        for hours in ages_h:
            id_ = add_case(api.services)
            connection.execute(
                text("UPDATE cases SET created_at = now() - CAST(:age AS interval) WHERE id = :id"),
                {"age": timedelta(hours=hours), "id": id_},
            )
    add_case(api.services, route=Route.AUDIT, blind=True)
    add_case(api.services, route=Route.GOLDEN, blind=True)
    add_case(api.services, blind=True, answers_wanted=2)
    add_case(api.services, route=Route.APPEAL)
    add_user(api.services, "ann")
    held = add_case(api.services, route=Route.UNSCORABLE, score=None)
    done = add_case(api.services)
    with api.services.database.begin() as connection:
        connection.execute(
            cases.update().where(cases.c.id == held).values(state="held", assigned_to="ann")
        )
    decide(api.services, done, "match", noon())
    found = look(api, role)
    assert {each["route"]: each["cases"] for each in found["waiting"]} == {
        "flagged": 3, "others": 3, "appeal": 1, "unscorable": 1,
    }  # fmt: skip
    flagged = next(each for each in found["waiting"] if each["route"] == "flagged")
    assert flagged["oldest_s"] == pytest.approx(8 * 3600, abs=120)
    assert flagged["median_s"] == pytest.approx(3 * 3600, abs=120)
    assert not {"audit", "golden"} & {each["route"] for each in found["waiting"]}


def test_agreement_is_for_leads(api: Api) -> None:
    """Moderators see neither people's agreement nor how many cases nobody may decide."""
    found = look(api, Role.MODERATOR)
    assert (found["agreement"], found["undecidable"]) == (None, None)
    for role in (Role.LEAD, Role.ADMIN):
        found = look(api, role)
        assert found["agreement"]["observed"]["n"] == 0
        assert found["undecidable"] == 0


def test_decisions_count_on_their_day_of_utc_unless_undone(api: Api) -> None:
    """Each answer counts on the day of UTC on which it was given; undone ones nowhere."""
    midnight = noon().replace(hour=0) - timedelta(days=3)
    for answer, at in (
        ("mismatch", midnight - timedelta(microseconds=1)),
        ("mismatch", midnight),
        ("match", midnight + timedelta(hours=23, minutes=59)),
        ("unsure", midnight + timedelta(days=1)),
        ("match", midnight - timedelta(days=40)),
    ):
        decide(api.services, add_case(api.services), answer, at)
    undone = decide(api.services, add_case(api.services), "escalate", midnight)
    with api.services.database.begin() as connection:
        connection.execute(insert(undone_decisions).values(decision_id=undone, undone_by="ann"))
    by_day = {day["day"]: day["decisions"] for day in look(api)["days"]}
    days = [(midnight + timedelta(days=offset)).date().isoformat() for offset in (-1, 0, 1)]
    nothing = {"mismatch": 0, "match": 0, "unsure": 0, "escalate": 0}
    assert [by_day[day] for day in days] == [
        nothing | {"mismatch": 1},
        nothing | {"mismatch": 1, "match": 1},
        nothing | {"unsure": 1},
    ]
    assert sum(sum(counts.values()) for counts in by_day.values()) == 4


def test_the_flag_rate_is_of_what_got_a_score(api: Api) -> None:
    """Flagged over flagged and passed, with an interval around it; few verdicts have none."""
    judge(api.services, noon() - timedelta(days=2), flag=10, **{"pass": 30}, unscorable=7)
    judge(api.services, noon() - timedelta(days=5), flag=3)
    found = look(api)
    by_day = {day["day"]: day["verdicts"] for day in found["days"]}
    day = by_day[(noon() - timedelta(days=2)).date().isoformat()]
    assert (day["passed"], day["flagged"], day["unscorable"]) == (30, 10, 7)
    rate = day["flag_rate"]
    assert (rate["n"], rate["point"]) == (40, 0.25)
    assert 0.1 < rate["lower"] < 0.25 < rate["upper"] < 0.42
    few = by_day[(noon() - timedelta(days=5)).date().isoformat()]["flag_rate"]
    assert (few["n"], few["point"], few["has_too_few"]) == (3, None, True)
    assert found["flag_rate"]["n"] == 43


def test_days_that_are_over_are_counted_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later looks read verdicts of today and yesterday only, and say the same."""
    judge(api.services, noon() - timedelta(days=9), flag=5, **{"pass": 15})
    first = look(api)
    asked: list[Any] = []
    judged: Callable[..., Any] = dashboard_figures.desk_figures.judged
    monkeypatch.setattr(
        dashboard_figures.desk_figures,
        "judged",
        lambda connection, period: (asked.append(period), judged(connection, period))[1],
    )
    judge(api.services, noon() - timedelta(days=1), flag=10)
    second = look(api)
    assert [period.until - period.since for period in asked] == [timedelta(days=2)]
    assert second["days"][:-2] == first["days"][:-2]
    assert second["days"][-2]["verdicts"]["flagged"] == 10


def test_handling_time_is_that_of_one_case(api: Api) -> None:
    """From when a case came in sight, though claimed while the one before was looked at."""
    at = noon() - timedelta(days=1)
    for number in range(5):
        # Each is claimed 20 s before its decision, and decided 10 s after the one before.
        decide(
            api.services, add_case(api.services), "match", at + timedelta(seconds=10 * number),
            took_s=20,
        )  # fmt: skip
    for _ in range(20):
        decide(api.services, add_case(api.services), "match", at, took_s=0, by="ben", is_batch=True)
    found = look(api)
    assert found["days"][-2]["handling_s"] == pytest.approx(10)
    assert found["handling_s"] == pytest.approx(10)
    assert found["days"][-3]["handling_s"] is None


def test_an_appeal_is_overturned_if_its_answer_is_another(api: Api) -> None:
    """Against the answer that stood or, without one, the verdict; unclear answers do not count."""
    at = noon() - timedelta(days=1)

    def appeal(before: str | None, answer: str, *, route: Route = Route.FLAGGED) -> None:
        first = add_case(api.services, route=route)
        if before is not None:
            decide(api.services, first, before, at - timedelta(days=60))
        with api.services.database.begin() as connection:
            submission = connection.execute(
                text("SELECT submission_id FROM cases WHERE id = :id"), {"id": first}
            ).scalar_one()
            case_id = uuid7()
            connection.execute(
                insert(cases).values(
                    id=case_id, submission_id=submission, policy="default", route="appeal",
                    inclusion_probability=1, created_at=at - timedelta(days=2),
                )
            )  # fmt: skip
            connection.execute(
                insert(appeals).values(
                    id=uuid7(), submission_id=submission, case_id=case_id, statement="no"
                )
            )
        decide(api.services, case_id, answer, at, by="ben")

    for _ in range(4):
        appeal("mismatch", "match")
        appeal("mismatch", "mismatch")
    appeal(None, "match")
    appeal(None, "mismatch")
    appeal("mismatch", "unsure")
    found = look(api)["appeals_overturned"]
    assert (found["n"], found["point"]) == (10, 0.5)


def test_publications_are_marked_with_their_threshold(api: Api) -> None:
    """Those of these days, the oldest first, with the threshold that is live since."""
    with api.services.database.begin() as connection:
        connection.execute(
            insert(calibrations).values(version="c-1", model="m", artifact={"threshold": 0.42})
        )
        for days, action, live in (
            (40, "publish", "c-1"),
            (9, "publish", "c-1"),
            (2, "rollback", None),
        ):
            connection.execute(
                insert(publications).values(
                    policy="default", action=action, live_version=live, who="ann", why="a test",
                    created_at=noon() - timedelta(days=days),
                )
            )  # fmt: skip
    found = look(api)["publications"]
    assert [(each["action"], each["threshold"]) for each in found] == [
        ("publish", 0.42), ("rollback", None),
    ]  # fmt: skip
    assert json.dumps(found).count("ann") == 0


def test_the_page_is_for_those_who_are_signed_in(api: Api) -> None:
    """A platform's key opens neither the figures nor the page."""
    assert api.http.get("/v1/review/dashboard").status_code == 401
    answer = api.http.get("/review/dashboard")
    assert answer.status_code in (303, 401)
