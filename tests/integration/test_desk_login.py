"""Signing in and out at the desk, and everything that somebody may try instead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import func, select, update

from moderation.review import passwords
from moderation.review.auth import COOKIE
from moderation.review.login import local_path
from moderation.settings import Settings
from moderation.store import database, users
from moderation.store.review_tables import audit_log
from moderation.store.review_tables import sessions as sessions_table
from moderation.store.review_tables import users as users_table
from moderation.store.sessions import Kind
from moderation.store.users import Role
from moderation.wiring import Services, open_services
from tests.conftest import Api, Servers, serve_api
from tests.integration.desk import signed_in

PASSWORD = "correct horse battery"


def add_account(
    services: Services, name: str = "anna", role: Role = Role.MODERATOR, password: str = PASSWORD
) -> None:
    """An account with a password."""
    with services.database.begin() as connection:
        assert users.add(
            connection, name, role, password_hash=passwords.hash_password(password, name=name)
        )


@pytest.fixture
def browser(api: Api) -> Iterator[httpx.Client]:
    """Something with cookies that nobody has signed in with, and the account `anna`."""
    add_account(api.services)
    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as client:
        yield client


def log_in(
    client: httpx.Client, name: str = "anna", password: str = PASSWORD, **more: str
) -> httpx.Response:
    """Send the log-in form as a browser does."""
    origin = str(client.base_url).rstrip("/")
    form = {"name": name, "password": password, **more}
    return client.post("/review/login", data=form, headers={"Origin": origin})


def actions(services: Services) -> list[tuple[str, str, str | None]]:
    """Actor, action and subject of the audit log, oldest first."""
    columns = (audit_log.c.actor, audit_log.c.action, audit_log.c.subject)
    with services.database.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(audit_log.c.id))]


def test_a_person_signs_in_and_out(api: Api, browser: httpx.Client) -> None:
    """The form opens a session, signing out ends it in the database; both are written down."""
    asked = browser.get("/review/audit?actor=me")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/review/login?next=/review/audit%3Factor%3Dme"
    page = browser.get(asked.headers["location"])
    assert 'value="/review/audit?actor=me"' in page.text
    done = log_in(browser, next="/review/audit?actor=me")
    assert (done.status_code, done.headers["location"]) == (303, "/review/audit?actor=me")
    cookie = done.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie
    me = browser.get("/v1/review/session").json()
    assert (me["name"], me["role"], me["kind"]) == ("anna", "moderator", "browser")
    assert me["preferences"] == {"blur": True, "grey": True}
    token = browser.cookies[COOKIE]
    out = browser.post("/review/logout", data={"csrf": me["csrf"]})
    assert (out.status_code, out.headers["location"]) == (303, "/review/login")
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, token)
    assert browser.get("/v1/review/session").status_code == 401
    # A form that was sent before signing out and is sent again afterwards does nothing.
    assert browser.post("/review/logout", data={"csrf": me["csrf"]}).status_code == 401
    assert [action for _, action, _ in actions(api.services)] == ["session.opened", "session.ended"]


def test_a_tool_signs_in_with_name_and_password(api: Api, browser: httpx.Client) -> None:
    """A tool gets a bearer token, which opens the API and not the pages' forms as a cookie."""
    wrong = browser.post("/v1/review/session", json={"name": "anna", "password": "x" * 20})
    assert wrong.status_code == 401
    made = browser.post("/v1/review/session", json={"name": "anna", "password": PASSWORD})
    assert made.status_code == 201
    assert "set-cookie" not in made.headers
    token = made.json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    me = browser.get("/v1/review/session", headers=bearer).json()
    assert (me["name"], me["kind"], me["csrf"]) == ("anna", "token", None)
    browser.cookies.set(COOKIE, token)
    assert browser.get("/v1/review/session").status_code == 401
    browser.cookies.clear()
    assert browser.delete("/v1/review/session", headers=bearer).status_code == 204
    assert browser.get("/v1/review/session", headers=bearer).status_code == 401


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


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong password here"),
        ("nobody", PASSWORD),
        ("anna\r\nSet-Cookie: x=1", PASSWORD),
        ("anna\x00", PASSWORD),
        ("a" * 5000, PASSWORD),
        ("anna", "p" * 5000),
        ("", ""),
        ("ánna", PASSWORD),
    ],
)
def test_wrong_log_ins_are_told_apart_by_nothing(
    browser: httpx.Client, name: str, password: str
) -> None:
    """Every log-in that fails looks the same, whether the name exists or not."""
    answer = log_in(browser, name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert password not in answer.text or not password


def test_half_a_surrogate_pair_is_a_wrong_password(browser: httpx.Client) -> None:
    """What is no text at all is no password, and no server error."""
    body = b'{"name": "anna", "password": "\\ud800 and more text"}'
    headers = {"Content-Type": "application/json"}
    assert browser.post("/v1/review/session", content=body, headers=headers).status_code == 401


def test_a_disabled_person_stays_out(api: Api, browser: httpx.Client) -> None:
    """The right password of a disabled account is as wrong as any, and its session ends."""
    log_in(browser)
    with api.services.database.begin() as connection:
        users.set_disabled(connection, "anna", disabled=True)
    assert browser.get("/v1/review/session").status_code == 401
    assert log_in(browser).status_code == 401


def test_the_same_password_typed_on_another_keyboard(api: Api, browser: httpx.Client) -> None:
    """A letter and its accent as one code point or as two are the same password."""
    add_account(api.services, "zoe", password="cafe\u0301 au lait")
    assert log_in(browser, "ZOE ", "caf\u00e9 au lait").status_code == 303


def test_outdated_hashes_are_made_anew(api: Api, browser: httpx.Client) -> None:
    """A hash with weaker parameters still lets its owner in, and is a strong one afterwards."""
    weak = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    with api.services.database.begin() as connection:
        users.set_password_hash(connection, "anna", weak)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _log_in_freshly(api), range(4)))
    assert {answer.status_code for answer in answers} == {303}
    with api.services.database.connect() as connection:
        found = users.credentials(connection, "anna")
    assert found is not None
    assert found.password_hash is not None
    assert not passwords.is_outdated(found.password_hash)
    assert passwords.is_right(found.password_hash, PASSWORD)


def _log_in_freshly(api: Api, password: str = PASSWORD) -> httpx.Response:
    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as client:
        return log_in(client, password=password)


def test_ten_log_ins_at_once_are_ten_sessions(api: Api, browser: httpx.Client) -> None:
    """People who come at the same time all get in, each with a session of their own."""
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: _log_in_freshly(api), range(10)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.cookies[COOKIE] for answer in answers}) == 10


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


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "/review/../../evil",
        "/review/%2e%2e/evil",
        "/review/%252e%252e/evil",
        "/review//evil.example",
        "/review/%2F%2Fevil.example",
        "/review\\@evil.example",
        "/review@evil.example",
        "/reviewevil",
        "/review/\r\nSet-Cookie: a=b",
        "/review/%0d%0aSet-Cookie:%20a=b",
        "javascript:alert(1)",
        "\t//evil.example",
        "/review/logout",
        "/review/login",
        "/v1/submissions",
        "/review/" + "a" * 3000,
        "",
    ],
)
def test_the_log_in_leads_nowhere_else(browser: httpx.Client, elsewhere: str) -> None:
    """Whatever `next` says, the log-in leads to the desk."""
    done = log_in(browser, next=elsewhere)
    assert (done.status_code, done.headers["location"]) == (303, "/review")
    assert "a" not in done.cookies
    shown = browser.get(f"/review/login?next={quote(elsewhere)}")
    assert 'name="next" value="/review"' in shown.text


def test_the_log_in_leads_to_pages_of_the_desk() -> None:
    """Pages, cases and filters of the desk are found again after the log-in."""
    for wanted in (
        "/review",
        "/review/",
        "/review/grid?score_max=0.35&state=open",
        "/review/cases/0199c3d8-5a3e-7f00-8000-000000000000",
        "/review/audit?actor=cli:root&before=2026-01-01",
    ):
        assert local_path(wanted) == wanted


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


def test_no_token_or_password_is_stored_or_written_down(api: Api, browser: httpx.Client) -> None:
    """The tables hold hashes; the audit log names the account, never what was typed."""
    log_in(browser)
    log_in(browser, "Hunter2hunter2", "hunter2")
    token = browser.cookies[COOKIE]
    with api.services.database.connect() as connection:
        kept = " ".join(
            str(row)
            for table in (users_table, sessions_table, audit_log)
            for row in connection.execute(select(table))
        )
    assert token not in kept
    assert PASSWORD not in kept
    assert "unter2" not in kept
    assert ("nobody", "session.failed", None) in actions(api.services)


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
