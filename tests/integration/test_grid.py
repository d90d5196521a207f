"""The list of cases that the grid shows: whole, in order, filtered, and silent about blind ones."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from moderation.store.cases import Level, Route
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.desk import add_case, signed_in

LIST = "/v1/review/cases"


def ids(client: httpx.Client, **query: Any) -> list[UUID]:
    """The ids on one page of the list."""
    answer = client.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return [UUID(case["id"]) for case in answer.json()["cases"]]


def open_earlier(services: Services, case_id: UUID, *, hours: float) -> None:
    """Make a case as old as that."""
    with services.database.begin() as connection:
        connection.execute(
            text("UPDATE cases SET created_at = now() - CAST(:age AS interval) WHERE id = :id"),
            {"age": timedelta(hours=hours), "id": case_id},
        )


def test_pages_hold_each_case_once_in_the_order_of_the_queue(api: Api) -> None:
    """Following `next_cursor` gives every open case once, also where many are due at one time."""
    expected = [add_case(api.services, due_in=timedelta(seconds=-i // 4)) for i in range(23)]
    with api.services.database.begin() as connection:
        connection.execute(text("UPDATE cases SET due_at = date_trunc('day', due_at)"))
        in_order = list(
            connection.execute(text("SELECT id FROM cases ORDER BY due_at, id")).scalars()
        )
    with signed_in(api, "mo") as mo:
        seen: list[UUID] = []
        cursor: str | None = None
        while True:
            query = {"limit": 5} | ({"cursor": cursor} if cursor else {})
            answer = mo.get(LIST, params=query).json()
            seen += [UUID(case["id"]) for case in answer["cases"]]
            if (cursor := answer["next_cursor"]) is None:
                break
    assert seen == in_order
    assert set(seen) == set(expected)


@pytest.mark.parametrize("role", Role)
def test_blind_cases_are_never_listed(api: Api, role: Role) -> None:
    """Nobody, leads neither, sees audit, golden, appeal or twice-decided cases beside a score."""
    shown = add_case(api.services, caption="shown")
    for route in (Route.AUDIT, Route.GOLDEN, Route.APPEAL):
        add_case(api.services, route=route, blind=True, caption="secret words")
        add_case(api.services, route=route, blind=False, caption="secret words")
    add_case(api.services, blind=True, answers_wanted=2, caption="secret words")
    add_case(api.services, blind=True, level=Level.LEAD, caption="secret words")
    with signed_in(api, "pat", role) as pat:
        assert ids(pat) == [shown]
        assert "secret words" not in pat.get("/review/grid").text
        if role.may(Role.LEAD):
            assert ids(pat, level="lead") == []


def test_each_filter_narrows_the_list(api: Api) -> None:
    """Score, policy, route, age and a part of the caption; both ends of a range are included."""
    low = add_case(api.services, score=0.1, caption="A Red ball")
    high = add_case(api.services, score=0.3, policy="memes", caption="100% of it_")
    none = add_case(api.services, route=Route.UNSCORABLE, score=None, caption="x")
    open_earlier(api.services, low, hours=30)
    open_earlier(api.services, high, hours=5)
    with signed_in(api, "mo") as mo:
        assert set(ids(mo)) == {low, high, none}
        assert ids(mo, score_max=0.1) == [low]
        assert ids(mo, score_min=0.3, score_max=0.3) == [high]
        assert set(ids(mo, score_min=0)) == {low, high}
        assert ids(mo, policy="memes") == [high]
        assert ids(mo, policy="meme") == []
        assert ids(mo, route="unscorable") == [none]
        assert set(ids(mo, route="flagged")) == {low, high}
        assert ids(mo, age_min_h=24) == [low]
        assert set(ids(mo, age_max_h=24)) == {high, none}
        assert ids(mo, age_min_h=4, age_max_h=6) == [high]
        assert ids(mo, caption="red BALL") == [low]
        assert ids(mo, caption="0%") == [high]
        assert ids(mo, caption="%") == [high]
        assert ids(mo, caption="_") == [high]
        assert set(ids(mo, policy="", route="", score_min="", caption="")) == {low, high, none}


def test_only_what_one_may_take_is_listed(api: Api) -> None:
    """What somebody has before them, holds, skipped or decided is not offered again."""
    cases = [add_case(api.services) for _ in range(4)]
    with signed_in(api, "mo") as mo, signed_in(api, "ann") as ann:

        def claim(who: httpx.Client, case_id: UUID) -> str:
            answer = who.post("/v1/review/claims", json={"case_id": str(case_id)})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["claim"]["id"])

        taken = claim(mo, cases[0])
        held = claim(mo, cases[1])
        assert mo.post(f"/v1/review/claims/{held}/hold", json={}).status_code < 300
        skipped = claim(mo, cases[2])
        assert mo.post(f"/v1/review/claims/{skipped}/skip", json={}).status_code < 300
        assert set(ids(ann)) == {cases[2], cases[3]}
        assert set(ids(mo)) == {cases[3]}
        assert mo.post(f"/v1/review/claims/{taken}/release").status_code < 300
        assert set(ids(ann)) == {cases[0], cases[2], cases[3]}
        decided = mo.post(
            "/v1/review/decisions", json={"case_ids": [str(cases[3])], "answer": "match"}
        )
        assert [each["case_id"] for each in decided.json()["decided"]] == [str(cases[3])]
        assert set(ids(ann)) == {cases[0], cases[2]}


def test_escalated_cases_are_listed_for_leads_only(api: Api) -> None:
    """The level `lead` is refused to moderators in words, and read by leads."""
    escalated = add_case(api.services, level=Level.LEAD)
    with signed_in(api, "mo") as mo, signed_in(api, "lea", Role.LEAD) as lea:
        answer = mo.get(LIST, params={"level": "lead"})
        assert answer.status_code == 403
        assert "lead" in answer.json()["detail"]
        assert mo.get("/review/grid", params={"level": "lead"}).status_code == 403
        assert ids(mo) == ids(lea) == []
        assert ids(lea, level="lead") == [escalated]


@pytest.mark.parametrize(
    "query",
    [
        {"score_min": "nan"}, {"score_min": "-1"}, {"score_max": "2"}, {"age_min_h": "inf"},
        {"age_max_h": "1e300"}, {"limit": "201"}, {"limit": "0"}, {"route": "audit"},
        {"route": "golden"}, {"state": "resolved"}, {"caption": "a\0"}, {"cursor": "x"},
        {"cursor": "20261122T000000.0Z_1"}, {"level": "boss"},
    ],
)  # fmt: skip
def test_wrong_filters_are_refused(api: Api, query: dict[str, str]) -> None:
    """Numbers that are none, routes that nobody may list, and cursors not of ours are a 422."""
    with signed_in(api, "mo") as mo:
        answer = mo.get(LIST, params=query)
    assert answer.status_code == 422, answer.text


def test_the_page_shows_captions_as_text(api: Api) -> None:
    """A caption is escaped, hidden characters are named, and the filter keeps what was typed."""
    add_case(api.services, caption="<img src=x onerror=alert(1)> \u202eevil")
    with signed_in(api, "mo") as mo:
        page = mo.get("/review/grid", params={"caption": '"><b>'})
        assert '"><b>' not in page.text
        assert "No open case fits" in page.text
        page = mo.get("/review/grid")
        assert "<img src=x" not in page.text
        assert "&lt;img src=x onerror=alert(1)&gt;" in page.text
        assert "\u202e" not in page.text
        assert 'dir="auto"' in page.text


def test_nobody_reads_the_list_without_signing_in(api: Api) -> None:
    """A platform's key opens nothing of the desk; the page leads to the log-in."""
    add_case(api.services)
    assert api.http.get(LIST).status_code == 401
    with httpx.Client(base_url=api.url, trust_env=False) as nobody:
        assert nobody.get(LIST).status_code == 401
        answer = nobody.get("/review/grid")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/review/login?next=/review/grid")
