"""That what platforms are told arrives: when they are down, slow, gone or elsewhere."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, eventually
from tests.integration.desk import signed_in
from tests.integration.platform import (
    Platform,
    Received,
    Reply,
    add_endpoint,
    delivering,
    judge,
    let_time_pass,
    states,
)
from tests.integration.webhooks.steps import arrived, failed, rows


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
