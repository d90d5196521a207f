"""Sessions: whose they are, when they end, and forms that are not theirs."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, update

from moderation.review.auth import COOKIE
from moderation.settings import Settings
from moderation.store.review_tables import sessions as sessions_table
from moderation.store.sessions import Kind
from moderation.wiring import Services, open_services
from tests.conftest import Api, serve_api
from tests.integration.desk import signed_in
from tests.integration.logging_in import PASSWORD, a_browser, add_account, log_in


@pytest.fixture
def browser(api: Api) -> Iterator[httpx.Client]:
    """Something with cookies that nobody has signed in with, and the account `anna`."""
    with a_browser(api) as client:
        yield client


def test_a_browsers_cookie_is_no_bearer_token(browser: httpx.Client) -> None:
    """What a cookie holds does not work as a bearer token, and neither does a platform's key."""
    log_in(browser)
    token = browser.cookies[COOKIE]
    browser.cookies.clear()
    bearer = {"Authorization": f"Bearer {token}"}
    assert browser.get("/v1/review/session", headers=bearer).status_code == 401


def test_a_platforms_key_does_not_open_the_desk(api: Api) -> None:
    """Keys of platforms are for handing posts in."""
    assert api.http.get("/v1/review/session").status_code == 401


def test_a_session_that_somebody_else_made_is_not_taken_over(
    api: Api, browser: httpx.Client
) -> None:
    """A cookie that was there before the log-in is worth nothing after it."""
    browser.cookies.set(COOKIE, "cgs_chosen_by_somebody_else")
    log_in(browser)
    jar = [cookie.value for cookie in browser.cookies.jar if cookie.name == COOKIE]
    fresh = next(value for value in jar if value != "cgs_chosen_by_somebody_else")
    browser.cookies.clear()
    browser.cookies.set(COOKIE, "cgs_chosen_by_somebody_else")
    assert browser.get("/v1/review/session").status_code == 401
    browser.cookies.clear()
    browser.cookies.set(COOKIE, str(fresh))
    assert browser.get("/v1/review/session").status_code == 200
    # Signing in again ends what this browser had: nobody could end it any more.
    log_in(browser)
    browser.cookies.clear()
    browser.cookies.set(COOKIE, str(fresh))
    assert browser.get("/v1/review/session").status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://127.0.0.1.evil.example",
        "http://[",
    ],
)
def test_the_form_of_another_site_signs_nobody_in(browser: httpx.Client, origin: str) -> None:
    """A log-in that another site sends is refused, also with the right password."""
    form = {"name": "anna", "password": PASSWORD}
    for headers in ({"Origin": origin}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.post("/review/login", data=form, headers=headers)
        assert answer.status_code == 403
        assert COOKIE not in answer.cookies
        assert browser.post("/v1/review/session", json=form, headers=headers).status_code == 403


@pytest.mark.parametrize("field", [None, "", "0" * 43, "other"])
def test_a_form_without_the_sessions_own_sign_does_nothing(
    api: Api, browser: httpx.Client, field: str | None
) -> None:
    """A form needs the `csrf` of its own session: none, a guess or another session's is refused."""
    log_in(browser)
    with signed_in(api, "bert") as other:
        if field == "other":
            field = other.headers["X-CSRF-Token"]
        answer = browser.post("/review/logout", data={} if field is None else {"csrf": field})
        assert answer.status_code == 403
        assert "reload the page" in answer.text
        asked = browser.delete("/v1/review/session", headers={"X-CSRF-Token": field or ""})
        assert asked.status_code == 403
    assert browser.get("/v1/review/session").status_code == 200


def test_a_foreign_origin_does_nothing_even_with_the_right_sign(browser: httpx.Client) -> None:
    """A request of another site is refused before anything else is looked at."""
    log_in(browser)
    csrf = browser.get("/v1/review/session").json()["csrf"]
    headers = {"X-CSRF-Token": csrf, "Origin": "https://evil.example"}
    assert browser.delete("/v1/review/session", headers=headers).status_code == 403
    assert browser.get("/v1/review/session").status_code == 200


def test_sessions_end_by_time_and_browsers_by_idling(api: Api) -> None:
    """A session is over at its time; a browser's also when it idled, a tool's not."""
    idle = timedelta(seconds=api.services.settings.session_idle_s + 60)
    with signed_in(api, "anna") as anna, signed_in(api, "bert", kind=Kind.TOKEN) as bert:
        _age(api.services, seen_at=func.now() - idle)
        assert anna.get("/v1/review/session").status_code == 401
        assert bert.get("/v1/review/session").status_code == 200
    with signed_in(api, "anna") as anna, signed_in(api, "bert", kind=Kind.TOKEN) as bert:
        _age(api.services, expires_at=func.now())
        assert anna.get("/v1/review/session").status_code == 401
        assert bert.get("/v1/review/session").status_code == 401


def _age(services: Services, **values: object) -> None:
    with services.database.begin() as connection:
        connection.execute(update(sessions_table).values(**values))


def test_behind_tls_the_cookie_is_for_this_host_only(
    settings: Settings, services: Services
) -> None:
    """With an https address the cookie is secure and of this host, and browsers stay on https."""
    tls = open_services(settings.model_copy(update={"public_url": "https://desk.example"}))
    add_account(tls)
    with serve_api(tls) as running:
        form = {"name": "anna", "password": PASSWORD}
        answer = httpx.post(
            f"{running.url}/review/login", data=form, headers={"Origin": "https://desk.example"}
        )
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-captionguard_session=")
        assert "; secure" in cookie.lower()
        assert "domain" not in cookie.lower()
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        # The older name, which another host of the domain could set, is not looked at.
        token = cookie.split("=", 1)[1].split(";")[0]
        old = {"Cookie": f"{COOKIE}={token}"}
        assert httpx.get(f"{running.url}/v1/review/session", headers=old).status_code == 401
    tls.close()


def test_every_answer_of_the_desk_has_its_headers(api: Api, browser: httpx.Client) -> None:
    """Pages, the API, errors and redirects forbid what is not ours; other answers stay as is."""
    for path in ("/review/login", "/review/nothing", "/review/settings", "/v1/review/session"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "Cookie" in headers["vary"]
        assert "strict-transport-security" not in headers
    static = browser.get("/review/static/desk.css").headers
    assert static["cache-control"] == "no-cache"
    assert "etag" in static
    assert "content-security-policy" in static
    again = browser.get("/review/static/desk.css", headers={"If-None-Match": static["etag"]})
    assert again.status_code == 304
    assert "content-security-policy" not in browser.get("/healthz").headers
