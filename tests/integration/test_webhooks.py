"""Webhooks: what platforms are told, that it arrives, and what endpoints cannot do to us."""

import getpass
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import pytest
import schemathesis
from click.testing import Result
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError
from typer.testing import CliRunner

import moderation.review
from moderation.cli import app
from moderation.errors import InputRefused
from moderation.metrics import WebhookMetrics
from moderation.settings import Settings
from moderation.store.cases import Route
from moderation.store.sessions import Kind
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


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let webhooks reach this machine, and decisions be undone for long."""
    return settings.model_copy(
        update={"webhook_allow_private": True, "webhook_timeout_s": 60.0, "review_undo_s": 300.0}
    )


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform that takes everything."""
    with Platform().serving() as running:
        yield running


def rows(services: Services, query: str, **values: object) -> list[dict[str, Any]]:
    """Rows of a query."""
    with services.database.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def decide(
    api: Api, name: str, case_id: UUID, answer: str, *, role: Role = Role.MODERATOR
) -> dict[str, Any]:
    """Somebody claims a case and decides it."""
    with signed_in(api, name, role) as client:
        claimed = client.post("/v1/review/claims", json={"case_id": str(case_id)})
        assert claimed.status_code == 201, claimed.text
        token = claimed.json()["claim"]["id"]
        made = client.post(
            f"/v1/review/claims/{token}/decision", json={"answer": answer, "reason": "spam"}
        )
        assert made.status_code == 200, made.text
        document: dict[str, Any] = made.json()
    return document


def arrived(platform: Platform, count: int) -> list[Received]:
    """Wait for so many requests."""
    eventually(lambda: len(platform.received) >= count)
    return list(platform.received)


# What is told


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
        assert verdicts.record(connection, again, verdicts.open_no_case) == set()
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


# That it arrives


def test_an_endpoint_that_was_down_gets_it_later(services: Services, platform: Platform) -> None:
    """The same event with the same id and bytes, signed anew; then never again."""
    _, secret = add_endpoint(services, platform.url)
    platform.reply = lambda _: Reply(500, body=b"a page about the error")
    judge(services)
    with delivering(services) as metrics:
        eventually(lambda: failed(metrics) == 1)
        (row,) = rows(services, "SELECT *, due_at - now() AS wait FROM webhook_deliveries")
        assert (row["state"], row["attempts"], row["last_status"]) == ("pending", 1, 500)
        assert row["last_problem"] == "answered 500"
        platform.reply = lambda _: Reply()
        let_time_pass(services)
        eventually(lambda: states(services) == {"delivered": 1})
    first, second = platform.received
    assert (first.id, first.body) == (second.id, second.body)
    assert first.verified(secret) == second.verified(secret)
    (row,) = rows(services, "SELECT * FROM webhook_deliveries")
    assert (row["attempts"], row["last_status"], row["last_problem"]) == (2, 204, None)


def failed(metrics: WebhookMetrics) -> float:
    """How many tries have failed and are noted."""
    (series,) = metrics.tries.labels("failed").collect()
    return next(sample.value for sample in series.samples if sample.name.endswith("_total"))


def test_what_nobody_takes_is_given_up_visibly_and_can_be_replayed(
    api: Api, platform: Platform
) -> None:
    """After ten tries it has failed, is listed so, and an admin sends it again."""
    services = api.services
    _, secret = add_endpoint(services, platform.url)
    platform.reply = lambda _: Reply(500)
    judge(services)
    with delivering(services) as metrics, signed_in(api, "ada", Role.ADMIN) as ada:
        for tries in range(1, 11):
            eventually(
                lambda: failed(metrics) == tries  # noqa: B023
            )
            let_time_pass(services)
        listed = ada.get("/v1/review/webhooks/deliveries", params={"state": "failed"}).json()
        (lost,) = listed["deliveries"]
        assert (lost["attempts"], lost["last_problem"]) == (10, "answered 500")
        platform.reply = lambda _: Reply()
        again = ada.post(f"/v1/review/webhooks/deliveries/{lost['id']}/replay")
        assert again.status_code == 200, again.text
        eventually(lambda: states(services) == {"delivered": 1})
        assert {received.id for received in platform.received} == {lost["event_id"]}
        # What was delivered can be sent again as well, as it may have got lost over there.
        ada.post(f"/v1/review/webhooks/deliveries/{lost['id']}/replay")
        assert arrived(platform, 12)[-1].verified(secret)["type"] == "verdict.created"
    replayed = rows(services, "SELECT actor FROM audit_log WHERE action = 'webhook.replayed'")
    assert [row["actor"] for row in replayed] == ["ada", "ada"]


def test_a_slow_endpoint_holds_up_nobody(services: Services, platform: Platform) -> None:
    """While one hangs with more than it may have at once, another gets all of its own."""
    add_endpoint(services, platform.url.replace("/hook", "/slow"))
    add_endpoint(services, platform.url.replace("/hook", "/fast"), platform="fast")
    go_on = threading.Event()

    def reply(received: Received) -> Reply:
        if received.path == "/slow":
            go_on.wait(60)
        return Reply()

    platform.reply = reply
    judge(services, 100)
    with delivering(services):
        try:
            eventually(lambda: len(platform.of("/slow")) == 16)
            judge(services, 200, platform="fast")
            eventually(lambda: states(services).get("delivered") == 200)
            assert len(platform.of("/fast")) == 200
            assert len(platform.of("/slow")) == 16
        finally:
            go_on.set()
        eventually(lambda: states(services) == {"delivered": 300})


def test_an_endpoint_that_is_gone_is_disabled(api: Api, platform: Platform) -> None:
    """410 ends it, with what waits for it; enabled again, the rest can be replayed."""
    services = api.services
    id_, _ = add_endpoint(services, platform.url)
    platform.reply = lambda _: Reply(410)
    judge(services, 40)
    with delivering(services), signed_in(api, "ada", Role.ADMIN) as ada:
        eventually(lambda: states(services).get("failed", 0) >= 1)
        (endpoint,) = ada.get("/v1/review/webhooks").json()["endpoints"]
        assert endpoint["disabled_why"] == "answered 410"
        judge(services)  # nobody is told of this one
        platform.reply = lambda _: Reply()
    # The next scheduler, or this one at its next look at what waits, ends the rest.
    with delivering(services):
        eventually(lambda: states(services) == {"failed": 40})
        with signed_in(api, "ada", Role.ADMIN) as ada:
            refused = ada.post("/v1/review/webhooks/deliveries/replay", json={})
            assert refused.json() == {"replayed": 0}
            assert ada.post(f"/v1/review/webhooks/{id_}/enable").status_code == 200
            replayed = ada.post("/v1/review/webhooks/deliveries/replay", json={})
            assert replayed.json() == {"replayed": 40}
        eventually(lambda: states(services) == {"delivered": 40})
    log = rows(services, "SELECT actor, action FROM audit_log WHERE action LIKE 'webhook.%'")
    assert {"actor": "scheduler", "action": "webhook.disabled"} in log


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_says_when_to_come_back(
    services: Services, platform: Platform, status: int
) -> None:
    """Retry-After puts off that delivery and all others to the endpoint."""
    add_endpoint(services, platform.url)
    at = datetime.now(UTC) + timedelta(hours=2)
    value = "7200" if status == 429 else at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    platform.reply = lambda _: Reply(status, (("Retry-After", value),))
    judge(services)
    with delivering(services) as metrics:
        eventually(lambda: failed(metrics) == 1)
        add_endpoint(services, f"{platform.url}/other", platform="other")
        judge(services)
        judge(services, platform="other")
        eventually(lambda: len(platform.of("/hook/other")) == 1)
    assert len(platform.of("/hook")) == 1
    (row,) = rows(
        services,
        "SELECT due_at FROM webhook_deliveries WHERE last_status = :status AND attempts = 1"
        " ORDER BY id LIMIT 1",
        status=status,
    )
    assert timedelta(minutes=-1) < row["due_at"] - at < timedelta(minutes=5)


def test_a_redirect_is_not_followed(services: Services, platform: Platform) -> None:
    """It would take what was signed for one place to another: a failure that says so."""
    add_endpoint(services, platform.url)
    elsewhere = platform.url.replace("/hook", "/elsewhere")
    platform.reply = lambda r: (
        Reply(307, (("Location", elsewhere),)) if r.path == "/hook" else Reply()
    )
    judge(services)
    with delivering(services) as metrics:
        eventually(lambda: failed(metrics) == 1)
    assert platform.of("/elsewhere") == []
    (row,) = rows(services, "SELECT last_problem FROM webhook_deliveries")
    assert row["last_problem"] == "answered 307; redirects are not followed"


def test_two_schedulers_share(services: Services, platform: Platform) -> None:
    """Nothing is sent twice while both live."""
    add_endpoint(services, platform.url)
    judge(services, 256)
    with delivering(services), delivering(services):
        eventually(lambda: states(services) == {"delivered": 256})
    assert len(platform.received) == 256
    assert len({received.id for received in platform.received}) == 256


# Secrets and rights


def test_a_rotated_secret_signs_beside_the_one_before(api: Api, platform: Platform) -> None:
    """For a day both verify; afterwards the new one alone."""
    services = api.services
    id_, old = add_endpoint(services, platform.url)
    with signed_in(api, "ada", Role.ADMIN) as ada:
        rotated = ada.post(f"/v1/review/webhooks/{id_}/rotate").json()
    new = rotated["secret"]
    until = datetime.fromisoformat(rotated["previous_until"])
    assert timedelta(hours=23, minutes=59) < until - datetime.now(UTC) <= timedelta(hours=24)
    with delivering(services):
        judge(services)
        (first,) = arrived(platform, 1)
        with services.database.begin() as connection:
            connection.execute(text("UPDATE webhook_endpoints SET previous_until = now()"))
        judge(services)
        second = arrived(platform, 2)[1]
    assert first.verified(old) == first.verified(new)
    assert second.verified(new)["type"] == "verdict.created"
    with pytest.raises(WebhookVerificationError):
        second.verified(old)


def test_secrets_and_urls_stay_out_of_logs(
    api: Api, platform: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong with an endpoint: neither the log nor the audit log has them."""
    services = api.services
    url = f"{platform.url}/path-of-acme?token=hush"
    with signed_in(api, "ada", Role.ADMIN) as ada:
        added = ada.post("/v1/review/webhooks", json={"platform": "acme", "url": url}).json()
        secrets = [added["secret"]]
        replies = iter([Reply(302), Reply(500), Reply(410)])
        platform.reply = lambda _: next(replies, Reply())
        judge(services)
        with delivering(services):
            for _ in range(3):
                count = len(platform.received)
                let_time_pass(services)
                eventually(lambda: len(platform.received) > count)  # noqa: B023
            eventually(lambda: states(services) == {"failed": 1})
        ada.post(f"/v1/review/webhooks/{added['id']}/enable")
        ada.post(f"/v1/review/webhooks/{added['id']}/test")
        secrets.append(ada.post(f"/v1/review/webhooks/{added['id']}/rotate").json()["secret"])
        listed = ada.get("/v1/review/webhooks").text
        ada.delete(f"/v1/review/webhooks/{added['id']}")
    out, err = capfd.readouterr()
    audited = json.dumps(
        [row["line"] for row in rows(services, "SELECT audit_log::text AS line FROM audit_log")]
    )
    assert "webhook_put_off" in out + err
    assert "webhook.added" in audited
    for place in (out, err, audited, listed):
        assert not any(secret in place for secret in secrets)
    for place in (out, err, audited):
        assert "path-of-acme" not in place
    kept = rows(services, "SELECT secret, previous_secret FROM webhook_endpoints")
    assert kept == [{"secret": "", "previous_secret": None}]


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.LEAD])
def test_webhooks_are_for_admins(api: Api, role: Role) -> None:
    """Whoever may not see endpoints may not change them either."""
    id_, _ = add_endpoint(api.services, "http://127.0.0.1:9999/")
    with signed_in(api, "mia", role) as mia:
        answers = [
            mia.get("/v1/review/webhooks"),
            mia.get("/v1/review/webhooks/deliveries"),
            mia.get("/review/webhooks"),
            mia.post(
                "/v1/review/webhooks", json={"platform": "p", "url": "http://127.0.0.1:9999/"}
            ),
            mia.post("/v1/review/webhooks/deliveries/replay", json={}),
            mia.post(f"/v1/review/webhooks/deliveries/{id_}/replay"),
            mia.delete(f"/v1/review/webhooks/{id_}"),
            *(
                mia.post(f"/v1/review/webhooks/{id_}/{what}")
                for what in ("rotate", "test", "enable")
            ),
            mia.post("/review/webhooks", data={"platform": "p", "url": "http://127.0.0.1:9999/"}),
            *(mia.post(f"/review/webhooks/{id_}/{what}") for what in ("rotate", "test", "remove")),
        ]
    assert {answer.status_code for answer in answers} == {403}
    with signed_in(api, "ada", Role.ADMIN) as ada:
        assert len(ada.get("/v1/review/webhooks").json()["endpoints"]) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/hook", "https"),
        ("https://127.0.0.1/hook", "private"),
        ("https://169.254.169.254/latest", "private"),
        ("https://[::1]/hook", "private"),
        ("https://me:secret@example.com/", "password"),
        ("https://example.com:22/", "port"),
        ("ftp://example.com/", "http"),
        ("https://2130706433/", "number"),
        ("nonsense", "http"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(api: Api, url: str, said: str) -> None:
    """With the reason, by the API and the page; nothing is stored, and the form keeps its text."""
    strict = api.services.settings.model_copy(update={"webhook_allow_private": False})
    object.__setattr__(api.services, "settings", strict)
    with signed_in(api, "ada", Role.ADMIN) as ada:
        answer = ada.post("/v1/review/webhooks", json={"platform": "acme", "url": url})
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        assert answer.json()["detail"].startswith("The webhook URL")
        shown = ada.post("/review/webhooks", data={"platform": "acme", "url": url})
        assert shown.status_code == 422
        assert f'value="{url}"' in shown.text
        assert ada.get("/v1/review/webhooks").json() == {"endpoints": []}


def test_a_private_address_is_refused_at_the_last_moment(
    services: Services, platform: Platform
) -> None:
    """What was allowed once is not reached any more once private addresses are not allowed."""
    add_endpoint(services, platform.url.replace("http://127.0.0.1", "https://localhost"))
    strict = services.settings.model_copy(update={"webhook_allow_private": False})
    judge(services)
    with delivering(replace(services, settings=strict)) as metrics:
        eventually(lambda: failed(metrics) == 1)
    (row,) = rows(services, "SELECT last_problem FROM webhook_deliveries")
    assert row["last_problem"] == "the host has a private or reserved address"


def test_a_removed_endpoint_hears_no_more(api: Api, platform: Platform) -> None:
    """Also not what waited for it; its URL can be added again, with another secret."""
    services = api.services
    id_, secret = add_endpoint(services, platform.url)
    judge(services)
    with signed_in(api, "ada", Role.ADMIN) as ada:
        twice = ada.post("/v1/review/webhooks", json={"platform": "acme", "url": platform.url})
        assert (twice.status_code, str(id_) in twice.text) == (422, True)
        assert ada.delete(f"/v1/review/webhooks/{id_}").status_code == 204
        assert ada.delete(f"/v1/review/webhooks/{id_}").status_code == 404
        again = ada.post("/v1/review/webhooks", json={"platform": "acme", "url": platform.url})
        assert again.json()["secret"] != secret
        with delivering(services):
            eventually(lambda: states(services) == {"cancelled": 1})
        assert len(ada.get("/v1/review/webhooks").json()["endpoints"]) == 1
    assert platform.received == []


def test_a_ping_shows_that_it_works(api: Api, platform: Platform) -> None:
    """A signed `ping`, and the endpoint's answer; nothing of it is stored."""
    id_, secret = add_endpoint(api.services, platform.url)
    with signed_in(api, "ada", Role.ADMIN) as ada:
        tested = ada.post(f"/v1/review/webhooks/{id_}/test").json()
        assert (tested["status"], tested["problem"]) == (204, None)
        platform.reply = lambda _: Reply(404)
        tested = ada.post(f"/v1/review/webhooks/{id_}/test").json()
        assert (tested["status"], tested["problem"]) == (404, "answered 404")
    document = platform.received[0].verified(secret)
    assert (document["type"], document["data"]) == ("ping", {})
    assert states(api.services) == {}


def test_the_page_does_what_the_api_does(api: Api, platform: Platform) -> None:
    """Added, tested, rotated, replayed and removed by forms, with the secret shown once."""
    services = api.services
    with signed_in(api, "ada", Role.ADMIN) as ada:
        made = ada.post("/review/webhooks", data={"platform": "acme", "url": platform.url})
        (id_,) = (row["id"] for row in rows(services, "SELECT id FROM webhook_endpoints"))
        secret = made.text.split("whsec_")[1].split("<")[0]
        assert secret not in ada.get("/review/webhooks").text
        assert "taken: answered 204" in " ".join(
            ada.post(f"/review/webhooks/{id_}/test").text.split()
        )
        assert f"whsec_{secret}" not in ada.post(f"/review/webhooks/{id_}/rotate").text
        judge(services)
        with services.database.begin() as connection:
            connection.execute(
                text(
                    "UPDATE webhook_deliveries SET state = 'failed', attempts = 9, ended_at = now()"
                )
            )
        assert "Send again what failed" in ada.get("/review/webhooks").text
        assert ada.post("/review/webhooks/replay").headers["location"].endswith("state=pending")
        assert states(services) == {"pending": 1}
        (delivery,) = rows(services, "SELECT id FROM webhook_deliveries")
        again = ada.post(f"/review/webhooks/deliveries/{delivery['id']}/replay")
        assert (again.status_code, "cannot" in again.text or "could be" in again.text) == (
            409,
            True,
        )
        assert ada.post(f"/review/webhooks/{id_}/remove").status_code == 303
        assert "No platform is told yet." in ada.get("/review/webhooks").text


def test_the_guides_example_verifies(services: Services, platform: Platform) -> None:
    """What the guide tells platforms to write takes a message once, and refuses a forged one."""
    guide = Path(moderation.review.__file__).with_name("GUIDE.md").read_text()
    example = guide.split("## Webhooks")[1].split("```python\n")[1].split("```")[0]
    _, secret = add_endpoint(services, platform.url)
    handled: list[dict[str, Any]] = []
    written: dict[str, Any] = {"SECRET": secret, "handle": handled.append}
    exec(example, written)  # noqa: S102 - our own guide
    (id_,) = judge(services)
    with delivering(services):
        (received,) = arrived(platform, 1)
    forged = received.body.replace(b"flag", b"pass")
    answers = [
        written["receive"](body, received.headers)
        for body in (forged, received.body, received.body)
    ]
    assert answers == [400, 204, 204]
    assert [event["data"]["submission_id"] for event in handled] == [str(id_)]


# At the command line


def test_the_commands(
    services: Services, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added, tested, listed, replayed, rotated, removed; the exit status says what failed."""
    # A command's own connections end with its process.
    monkeypatch.setattr("moderation.cli_webhooks.open_database", lambda: services.database)
    monkeypatch.setenv("CAPTIONGUARD_WEBHOOK_ALLOW_PRIVATE", "true")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["webhooks", *arguments])

    assert "No endpoint yet" in run("list").stderr
    assert "Nothing was to be told yet" in run("deliveries").stderr
    added = json.loads(run("add", "acme", platform.url, "--json").stdout)
    assert run("test", added["id"]).exit_code == 0
    assert platform.received[0].verified(added["secret"])["type"] == "ping"
    judge(services)
    platform.reply = lambda _: Reply(410)
    assert run("test", added["id"], "--json").exit_code == 1
    with delivering(services):
        eventually(lambda: states(services) == {"failed": 1})
    (listed,) = json.loads(run("list", "--json").stdout)
    assert (listed["failed"], listed["disabled_why"]) == (1, "answered 410")
    assert "secret" not in listed
    (lost,) = json.loads(run("deliveries", "--state", "failed", "--json").stdout)
    refused = run("replay", lost["id"])
    assert isinstance(refused.exception, InputRefused)
    run("enable", added["id"])
    assert run("replay").exit_code == 2
    assert run("replay", lost["id"], "--failed-since", "1h").exit_code == 2
    assert run("replay", "--failed-since", "soon").exit_code == 2
    assert run("replay", "--failed-since", "1h").exit_code == 0
    assert states(services) == {"pending": 1}
    rotated = run("rotate", added["id"])
    assert rotated.stdout.startswith("whsec_")
    assert rotated.stdout.strip() != added["secret"]
    assert run("remove", added["id"]).exit_code == 0
    assert json.loads(run("list", "--json").stdout) == []
    for people in (run("list"), run("deliveries")):
        assert people.exit_code == 0
    assert isinstance(run("remove", added["id"]).exception, InputRefused)
    actors = rows(services, "SELECT DISTINCT actor FROM audit_log WHERE action LIKE 'webhook.%'")
    assert {"actor": f"cli:{getpass.getuser()}"} in actors


def test_generated_requests_of_an_admin_never_break_it(api: Api, platform: Platform) -> None:
    """Each operation on webhooks answers with a status that its document knows."""
    add_endpoint(api.services, platform.url)
    judge(api.services)
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations = [
        found.ok() for found in schema.include(path_regex="webhooks").get_all_operations()
    ]
    assert len(operations) == 9
    with signed_in(api, "ada", Role.ADMIN, kind=Kind.TOKEN) as ada:
        for operation in operations:

            @hypothesis.settings(
                max_examples=15,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def conforms(case: schemathesis.Case) -> None:
                case.call_and_validate(
                    headers={"Authorization": ada.headers["Authorization"]},
                    checks=[not_a_server_error, status_code_conformance],
                    timeout=30,
                )

            conforms()
