"""What a platform reads of the review of its submissions: never too much, nor too early."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from moderation.settings import Settings
from moderation.store.cases import NewCase, Route, add_cases
from moderation.wiring import Services
from tests.conftest import Api, Machine, serve_api
from tests.integration.desk import add_case, add_user, state_of

UNDO_S = 3600.0
LONG_AGO = timedelta(hours=2)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Time enough to undo that no test waits it out."""
    return settings.model_copy(update={"review_undo_s": UNDO_S})


def decided(
    services: Services,
    case_id: UUID,
    *answers: str,
    reason: str | None = None,
    ago: timedelta = LONG_AGO,
) -> None:
    """People answer, the last of whom settles the case."""
    with services.database.begin() as connection:
        for n, answer in enumerate(answers):
            connection.execute(
                text(
                    "INSERT INTO decisions (id, case_id, answer, reason, decided_by, created_at)"
                    " VALUES (:id, :case, :answer, :reason, :by, now() - :ago)"
                ),
                {"id": uuid4(), "case": case_id, "answer": answer, "by": f"person-{n}",
                 "reason": reason if answer == answers[-1] else "other", "ago": ago},
            )  # fmt: skip
        connection.execute(
            text(
                "UPDATE cases SET state = 'resolved', resolution = :answer,"
                " resolved_at = now() - :ago WHERE id = :id"
            ),
            {"id": case_id, "answer": answers[-1], "ago": ago},
        )


def another_case(services: Services, case_id: UUID, route: Route) -> UUID:
    """A later case of the same submission."""
    with services.database.begin() as connection:
        submission = state_of(services, case_id)["submission_id"]
        assert isinstance(submission, UUID)
        return add_cases(connection, [NewCase(submission, route)])[0]


def appealed(services: Services, case_id: UUID) -> UUID:
    """The case of an appeal against what was decided."""
    appeal = another_case(services, case_id, Route.APPEAL)
    with services.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO appeals (id, submission_id, case_id, statement)"
                " SELECT id, submission_id, id, 'no' FROM cases WHERE id = :id"
            ),
            {"id": appeal},
        )
    return appeal


def read(api: Api, case_id: UUID) -> dict[str, Any]:
    """What the platform reads, both ways."""
    submission = state_of(api.services, case_id)["submission_id"]
    one = api.http.get(f"/v1/submissions/{submission}")
    assert one.status_code == 200
    many = api.http.get("/v1/submissions", params={"id": str(submission)})
    assert many.json()["submissions"] == [one.json()]
    return dict(one.json())


@pytest.mark.parametrize("route", [Route.FLAGGED, Route.UNSCORABLE])
def test_a_case_that_waits_is_shown(api: Api, route: Route) -> None:
    """Open, and why; also while somebody holds it, which concerns nobody outside."""
    score = 0.1 if route is Route.FLAGGED else None
    case = add_case(api.services, route=route, score=score)
    expected = {"state": "open", "route": route, "resolution": None, "resolved_at": None}
    for change in ("", "state = 'held', assigned_to = 'mia'", "level = 'lead'", "blind = true"):
        if change:
            add_user(api.services, "mia")
            with api.services.database.begin() as connection:
                connection.execute(text(f"UPDATE cases SET {change}"))  # noqa: S608 - our own
        document = read(api, case)
        assert document["case"].pop("opened_at")
        assert document["case"] == expected
        assert document["decisions"] == []


def test_what_was_decided_is_shown_without_names(api: Api) -> None:
    """The answer that stands, its reason and when; a first answer that was overruled is not."""
    case = add_case(api.services)
    decided(api.services, case, "match", "mismatch", reason="wrong_subject")
    document = read(api, case)
    assert (document["case"]["state"], document["case"]["resolution"]) == ("resolved", "mismatch")
    (decision,) = document["decisions"]
    assert decision.pop("decided_at") == document["case"]["resolved_at"]
    assert decision == {
        "answer": "mismatch",
        "reason": "wrong_subject",
        "overturns_verdict": False,
        "appeal": None,
    }
    assert "person" not in json.dumps(document)


def test_nothing_is_told_while_it_can_be_undone(api: Api) -> None:
    """A decision of a moment ago looks like none."""
    case = add_case(api.services)
    before = read(api, case)
    decided(api.services, case, "match", ago=timedelta(seconds=5))
    assert read(api, case) == before


@pytest.mark.parametrize(
    ("route", "decisions_told"), [(Route.AUDIT, ["mismatch"]), (Route.GOLDEN, [])]
)
def test_a_case_by_lot_is_not_told_of(
    api: Api, route: Route, decisions_told: Sequence[str]
) -> None:
    """Nobody behaves for just those that are audited; what an audit found is told, however."""
    case = add_case(api.services, route=route, score=0.9, blind=True)
    document = read(api, case)
    assert (document["case"], document["decisions"]) == (None, [])
    decided(api.services, case, "mismatch")
    document = read(api, case)
    assert document["case"] is None
    assert [decision["answer"] for decision in document["decisions"]] == decisions_told
    assert all(decision["overturns_verdict"] for decision in document["decisions"])


def test_an_appeal_and_what_came_of_it(api: Api) -> None:
    """The newest case is shown, and the decision on it beside the one before."""
    case = add_case(api.services)
    decided(api.services, case, "mismatch", ago=2 * LONG_AGO)
    appeal = appealed(api.services, case)
    document = read(api, case)
    assert (document["case"]["route"], document["case"]["state"]) == ("appeal", "open")
    assert [decision["answer"] for decision in document["decisions"]] == ["mismatch"]
    decided(api.services, appeal, "match")
    golden = another_case(api.services, case, Route.GOLDEN)
    decided(api.services, golden, "match")
    document = read(api, case)
    assert (document["case"]["route"], document["case"]["resolution"]) == ("appeal", "match")
    first, second = document["decisions"]
    assert (first["answer"], first["appeal"]) == ("mismatch", None)
    assert (second["answer"], second["overturns_verdict"]) == ("match", True)
    assert second["appeal"]["outcome"] == "overturned"


def test_the_decision_that_holds_comes_last(api: Api) -> None:
    """Who appeals at once may be answered before the flag is: the later decision is the newest."""
    case = add_case(api.services)
    appeal = appealed(api.services, case)
    decided(api.services, appeal, "match", ago=2 * LONG_AGO)
    decided(api.services, case, "mismatch")
    assert [told["answer"] for told in read(api, case)["decisions"]] == ["match", "mismatch"]


def test_a_pass_has_neither(api: Api) -> None:
    """Nobody is asked."""
    case = add_case(api.services, route=Route.AUDIT, score=0.9)
    with api.services.database.begin() as connection:
        connection.execute(text("DELETE FROM cases"))
    with api.services.database.connect() as connection:
        (submission,) = connection.execute(text("SELECT id FROM submissions")).scalars()
    document = api.http.get(f"/v1/submissions/{submission}").json()
    assert (document["case"], document["decisions"]) == (None, [])
    assert case


def test_another_platform_reads_nothing(services: Services) -> None:
    """Neither the submission nor what was decided on it."""
    case = add_case(services, platform="acme")
    submission = state_of(services, case)["submission_id"]
    with serve_api(services, platform="other") as api:
        assert api.http.get(f"/v1/submissions/{submission}").status_code == 404
        many = api.http.get("/v1/submissions", params={"id": str(submission)})
        assert many.json() == {"submissions": []}


def test_status_shows_case_and_decisions(machine: Machine) -> None:
    """`captionguard status` prints what the API says, for tools and for people."""
    body = {"caption": "", "image_url": "https://example.com/a.jpg"}
    answer = machine.http.post("/v1/submissions", json=body).json()
    status = machine.http.get(answer["status_url"], params={"wait_s": 60}).json()
    assert status["case"]["route"] == "unscorable"
    sql = "SELECT id FROM cases WHERE submission_id = CAST(:id AS uuid)"
    ((case,),) = machine.query(sql, id=answer["id"])
    with machine.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO decisions (id, case_id, answer, reason, decided_by)"
                " VALUES (:id, :case, 'mismatch', 'spam', 'mia')"
            ),
            {"id": uuid4(), "case": case},
        )
        connection.execute(
            text(
                "UPDATE cases SET state = 'resolved', resolution = 'mismatch',"
                " resolved_at = now() - interval '1 hour' WHERE id = :id"
            ),
            {"id": case},
        )
    document = json.loads(machine.run("status", answer["id"], "--json").stdout)
    assert document == machine.http.get(answer["status_url"]).json()
    assert document["case"]["state"] == "resolved"
    assert document["decisions"][0]["reason"] == "spam"
    shown = machine.run("status", answer["id"]).stderr
    assert "resolved (unscorable)" in shown
    assert "mismatch, spam" in shown
    assert "mia" not in shown


def test_the_schema_says_what_is_sent(api: Api) -> None:
    """The document's own description names both."""
    schema = httpx.get(f"{api.url}/openapi.json", trust_env=False).json()
    fields = schema["components"]["schemas"]["StatusOut"]["properties"]
    assert {"case", "decisions"} <= set(fields)
