"""Guessing passwords: few tries, also at once and from everywhere."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic import SecretStr

from moderation.settings import Settings
from moderation.store import database
from moderation.wiring import Services, open_services
from tests.conftest import Api, Servers, serve_api
from tests.integration.logging_in import PASSWORD, add_account


@pytest.fixture
def strict(servers: Servers, settings: Settings) -> Iterator[Api]:
    """An API that allows three failures."""
    opened = open_services(settings.model_copy(update={"login_attempts": 3}))
    opened.queue.redis.flushall()
    database.migrate(opened.database)
    with serve_api(opened) as running:
        add_account(opened)
        yield running
    opened.close()


def test_guesses_of_a_name_are_few_also_at_once(strict: Api) -> None:
    """Ten guesses at the same time are three tries, whether there is such an account or not."""
    for name in ("anna", "nobody"):
        strict.services.queue.redis.flushall()
        body = {"name": name, "password": "a wrong password"}
        with ThreadPoolExecutor(10) as pool:
            answers = list(
                pool.map(
                    lambda _, body=body: httpx.post(f"{strict.url}/v1/review/session", json=body),
                    range(10),
                )
            )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [401] * 3 + [429] * 7
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 600
        assert name not in refused.text


def test_many_names_from_one_address_are_few_guesses(strict: Api) -> None:
    """An address that failed too often is refused, also with a right password."""
    for number in range(3):
        body = {"name": f"guess{number}", "password": "a wrong password"}
        assert strict.http.post("/v1/review/session", json=body).status_code == 401
    right = {"name": "anna", "password": PASSWORD}
    # Nobody is asked for the address by a header that anybody can send.
    spoofed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    answer = strict.http.post("/v1/review/session", json=right, headers=spoofed)
    assert answer.status_code == 429
    page = httpx.post(f"{strict.url}/review/login", data=right, trust_env=False)
    assert page.status_code == 429
    assert "Too many failed log-ins." in page.text


def test_a_proxy_that_is_trusted_says_who_asks(settings: Settings, services: Services) -> None:
    """Behind a proxy that is set, each address behind it has its own limit."""
    opened = open_services(
        settings.model_copy(update={"login_attempts": 1, "trusted_proxies": "127.0.0.1"})
    )
    with serve_api(opened) as running:
        statuses = []
        for name, address in (("a", "203.0.113.9"), ("b", "203.0.113.9"), ("c", "203.0.113.10")):
            answer = running.http.post(
                "/v1/review/session",
                json={"name": name, "password": "a wrong password"},
                # What a client sends itself stands before what the proxy adds.
                headers={"X-Forwarded-For": f"198.51.100.{ord(name)}, {address}"},
            )
            statuses.append(answer.status_code)
    opened.close()
    assert statuses == [401, 429, 401]


def test_who_gets_in_has_their_tries_back(strict: Api) -> None:
    """Typing errors before a right password do not add up over a day."""
    right = {"name": "anna", "password": PASSWORD}
    for _ in range(2):
        strict.services.queue.redis.delete("none", *strict.services.queue.redis.keys("*address*"))
        for _ in range(2):
            body = right | {"password": "a wrong password"}
            assert strict.http.post("/v1/review/session", json=body).status_code == 401
        assert strict.http.post("/v1/review/session", json=right).status_code == 201


def test_without_redis_nobody_signs_in(settings: Settings, services: Services) -> None:
    """When failures cannot be counted, a right password is refused too, and can be tried again."""
    gone = open_services(
        settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    )
    add_account(gone)
    with serve_api(gone) as running:
        body = {"name": "anna", "password": PASSWORD}
        answer = running.http.post("/v1/review/session", json=body)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert httpx.post(f"{running.url}/review/login", data=body).status_code == 503
    gone.close()
