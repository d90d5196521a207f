"""Signing in and out at the desk, and everything that somebody may try instead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from moderation.review import passwords
from moderation.review.auth import COOKIE
from moderation.review.login import local_path
from moderation.store import users
from moderation.store.review_tables import audit_log
from moderation.store.review_tables import sessions as sessions_table
from moderation.store.review_tables import users as users_table
from tests.conftest import Api
from tests.integration.logging_in import PASSWORD, a_browser, actions, add_account, log_in


@pytest.fixture
def browser(api: Api) -> Iterator[httpx.Client]:
    """Something with cookies that nobody has signed in with, and the account `anna`."""
    with a_browser(api) as client:
        yield client


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
