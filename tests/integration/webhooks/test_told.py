"""What platforms are told of, and what not."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from moderation.store.cases import Route
from moderation.store.users import Role
from moderation.types import Outcome, Reason, Verdict
from moderation.wiring import Services
from tests.conftest import Api, eventually
from tests.integration.desk import add_case, signed_in
from tests.integration.platform import (
    FLAG,
    Platform,
    Received,
    Reply,
    add_endpoint,
    delivering,
    judge,
    let_time_pass,
    states,
)
from tests.integration.traffic import open_no_case
from tests.integration.webhooks.steps import arrived, decide, rows


def test_a_verdict_is_told_once_and_signed(services: Services, platform: Platform) -> None:
    """Once, to that platform only, with everything that its submission's status says."""
    _, secret = add_endpoint(services, platform.url)
    add_endpoint(services, f"{platform.url}/of-others", platform="others")
    (id_,) = judge(services)
    judge(services, platform="nobody-listens")
    with delivering(services):
        (received,) = arrived(platform, 1)
        eventually(lambda: states(services) == {"delivered": 1})
    assert len(platform.received) == 1
    document = received.verified(secret)
    external_id = document["data"].pop("external_id")
    decided_at = document["data"]["verdict"].pop("decided_at")
    assert external_id.startswith("post-")
    assert document == {
        "type": "verdict.created",
        "timestamp": decided_at,
        "data": {
            "submission_id": str(id_),
            "policy": "default",
            "verdict": {
                "outcome": "flag", "reason": None, "detail": None, "cosine": 0.1, "score": 0.125,
                "threshold": 0.35, "calibration_version": "c-1", "model": "m", "notes": [],
            },
        },
    }  # fmt: skip
    assert datetime.fromisoformat(decided_at).utcoffset() == timedelta(0)
    (event,) = rows(services, "SELECT id FROM webhook_events")
    assert received.id == str(event["id"])


def test_each_endpoint_gets_each_event_once(services: Services, platform: Platform) -> None:
    """Two endpoints of a platform, 200 submissions, one of them unscorable: 400 requests."""
    secrets = {
        path: add_endpoint(services, platform.url.replace("/hook", path))[1]
        for path in ["/a", "/b"]
    }
    detail = '“Ä” \\ " 🙂'
    broken = Verdict(
        Outcome.UNSCORABLE, "c-1", "m", 0.35, reason=Reason.IMAGE_CORRUPT, detail=detail
    )
    ids = {str(id_) for id_ in (*judge(services, 199), *judge(services, verdict=broken))}
    with delivering(services):
        eventually(lambda: states(services) == {"delivered": 400})
    for path, secret in secrets.items():
        told = [received.verified(secret)["data"] for received in platform.of(path)]
        assert len(told) == 200
        assert {data["submission_id"] for data in told} == ids
        assert detail in {data["verdict"]["detail"] for data in told}


def test_a_verdict_that_came_second_is_not_told(services: Services, platform: Platform) -> None:
    """First write wins: whoever judges a submission again tells nobody of it."""
    from moderation.store import verdicts

    add_endpoint(services, platform.url)
    (id_,) = judge(services)
    with services.database.begin() as connection:
        again = [(id_, replace(FLAG, score=0.9))]
        assert verdicts.record(connection, again, open_no_case) == set()
    assert states(services) == {"pending": 1}


def test_without_an_endpoint_nothing_is_written(api: Api) -> None:
    """Neither for a platform that never had one, nor for one whose endpoint is disabled."""
    with api.services.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_endpoints (id, platform, url, secret, disabled_at)"
                " VALUES (gen_random_uuid(), 'acme', 'http://127.0.0.1:9999/', 'whsec_AA', now())"
            )
        )
    judge(api.services)
    decide(api, "mia", add_case(api.services), "mismatch")
    assert rows(api.services, "SELECT id FROM webhook_events") == []


def test_a_decision_is_told_but_not_whose(api: Api, platform: Platform) -> None:
    """The answer, its reason and that it overturns the verdict; no name, no case, no route."""
    _, secret = add_endpoint(api.services, platform.url)
    case_id = add_case(api.services, route=Route.AUDIT, score=0.9)
    decide(api, "mia", case_id, "match")
    let_time_pass(api.services)
    with delivering(api.services):
        (received,) = arrived(platform, 1)
    document = received.verified(secret)
    assert document["type"] == "decision.created"
    decided_at = document["data"]["decision"].pop("decided_at")
    assert decided_at == document["timestamp"]
    assert document["data"]["decision"] == {
        "answer": "match", "reason": "spam", "overturns_verdict": False, "appeal": None,
    }  # fmt: skip
    for word in ("mia", "audit", "moderator", str(case_id)):
        assert word not in received.body.decode()


@pytest.mark.parametrize(
    ("route", "answer", "overturns"),
    [
        (Route.FLAGGED, "match", True),
        (Route.FLAGGED, "mismatch", False),
        (Route.FLAGGED, "unsure", False),
        (Route.UNSCORABLE, "match", False),
    ],
)
def test_whether_a_decision_overturns_the_verdict(
    api: Api, route: Route, answer: str, overturns: bool
) -> None:
    """A flag that is a match after all does; there was no verdict to overturn without a score."""
    add_endpoint(api.services, "http://127.0.0.1:9999/")
    score = 0.1 if route is Route.FLAGGED else None
    decide(api, "mia", add_case(api.services, route=route, score=score), answer)
    (event,) = rows(api.services, "SELECT body FROM webhook_events")
    assert event["body"]["data"]["decision"]["overturns_verdict"] is overturns


def test_golden_cases_are_never_told(api: Api) -> None:
    """Their answers were known before, and the platform has heard of them long ago."""
    add_endpoint(api.services, "http://127.0.0.1:9999/")
    decide(api, "mia", add_case(api.services, route=Route.GOLDEN, blind=True), "match")
    assert rows(api.services, "SELECT id FROM webhook_events") == []


def test_an_answer_that_settles_nothing_is_not_told(api: Api) -> None:
    """Of two answers that are wanted the first is nobody's decision yet."""
    add_endpoint(api.services, "http://127.0.0.1:9999/")
    decide(api, "mia", add_case(api.services, blind=True, answers_wanted=2), "match")
    assert rows(api.services, "SELECT id FROM webhook_events") == []


def test_what_is_undone_in_time_is_never_told(api: Api, platform: Platform) -> None:
    """Undone and decided again: one event, of the decision that stands."""
    _, secret = add_endpoint(api.services, platform.url)
    case_id = add_case(api.services)
    with delivering(api.services):
        with signed_in(api, "mia") as mia:
            made = decide(api, "mia", case_id, "mismatch")
            undone = mia.post(f"/v1/review/decisions/{made['decision_id']}/undo")
            assert undone.status_code == 200, undone.text
            token = undone.json()["claim"]["id"]
            mia.post(f"/v1/review/claims/{token}/decision", json={"answer": "match"})
        assert platform.received == []
        let_time_pass(api.services)
        (received,) = arrived(platform, 1)
        eventually(lambda: "pending" not in states(api.services))
    assert received.verified(secret)["data"]["decision"]["answer"] == "match"
    assert len(platform.received) == 1
    assert states(api.services) == {"delivered": 1, "cancelled": 1}


def test_what_has_left_the_house_cannot_be_undone(api: Api, platform: Platform) -> None:
    """However it came to leave early: an undo is refused, and no other endpoint misses it."""
    add_endpoint(api.services, platform.url)
    add_endpoint(api.services, f"{platform.url}/second")
    made = decide(api, "mia", add_case(api.services), "mismatch")
    with api.services.database.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_deliveries SET due_at = now()"
                " WHERE id = (SELECT min(id::text)::uuid FROM webhook_deliveries)"
            )
        )
    with delivering(api.services):
        arrived(platform, 1)
        with signed_in(api, "mia") as mia:
            undone = mia.post(f"/v1/review/decisions/{made['decision_id']}/undo")
        assert undone.status_code == 409
        assert undone.json()["detail"]["problem"] == "too_late"
        let_time_pass(api.services)
        eventually(lambda: states(api.services) == {"delivered": 2})


def test_undone_or_told_and_never_both(api: Api, platform: Platform) -> None:
    """However deliveries and undos race: a case is undone, or its platform hears of it."""
    services = api.services
    _, secret = add_endpoint(services, platform.url)

    def reply(_: Received) -> Reply:
        time.sleep(0.3)
        return Reply()

    platform.reply = reply
    case_ids = [str(add_case(services)) for _ in range(60)]
    with signed_in(api, "mia") as mia:
        body = {"case_ids": case_ids, "answer": "mismatch", "reason": "spam"}
        made = mia.post("/v1/review/decisions", json=body).json()["decided"]
        assert len(made) == 60
        let_time_pass(services)
        with delivering(services), ThreadPoolExecutor(4) as pool:
            # From the other end, and deliveries go 16 by 16: the two meet somewhere.
            undo = [f"/v1/review/decisions/{one['decision_id']}/undo" for one in reversed(made)]
            statuses = Counter(answer.status_code for answer in pool.map(mia.post, undo))
            eventually(lambda: "pending" not in states(services))
    told = {received.verified(secret)["data"]["submission_id"] for received in platform.received}
    standing = rows(services, "SELECT submission_id FROM cases WHERE state = 'resolved'")
    assert told == {str(row["submission_id"]) for row in standing}
    assert set(statuses) <= {200, 409}
    assert statuses[409] == len(told) == len(platform.received)


def test_an_appeal_that_overturns_says_so(api: Api, platform: Platform) -> None:
    """The event names the appeal and what became of it."""
    _, secret = add_endpoint(api.services, platform.url)
    case_id = add_case(api.services)
    decide(api, "mia", case_id, "mismatch")
    (case,) = rows(api.services, "SELECT submission_id FROM cases WHERE id = :id", id=case_id)
    appeal = api.http.post(
        f"/v1/submissions/{case['submission_id']}/appeals",
        json={"statement": "the dog is behind us"},
    )
    assert appeal.status_code == 201, appeal.text
    (opened,) = rows(api.services, "SELECT id FROM cases WHERE route = 'appeal'")
    decide(api, "lea", opened["id"], "match", role=Role.LEAD)
    let_time_pass(api.services)
    with delivering(api.services):
        told = [received.verified(secret)["data"]["decision"] for received in arrived(platform, 2)]
    first, second = sorted(told, key=lambda decision: decision["decided_at"])
    assert (first["appeal"], first["overturns_verdict"]) == (None, False)
    assert second["appeal"] == {"id": appeal.json()["id"], "outcome": "overturned"}
    assert (second["answer"], second["overturns_verdict"]) == ("match", True)
