"""Endpoints: their secrets, who may change them, and where they may not be."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError

import moderation.review
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, eventually
from tests.integration.desk import signed_in
from tests.integration.platform import (
    Platform,
    Reply,
    add_endpoint,
    delivering,
    judge,
    let_time_pass,
    states,
)
from tests.integration.webhooks.steps import arrived, failed, rows


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


def last_problem(services: Services) -> str:
    """What came of the last try of the only delivery."""
    with services.database.connect() as connection:
        found = connection.execute(text("SELECT last_problem FROM webhook_deliveries"))
        return str(found.scalar_one())


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
            for answered in ("302", "500"):
                let_time_pass(services)
                # Not when it has arrived: what came of it is stored a moment later.
                eventually(lambda: answered in last_problem(services))  # noqa: B023
            let_time_pass(services)
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
