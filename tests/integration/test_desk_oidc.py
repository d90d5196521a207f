"""Single sign-on with a real provider over HTTP: who comes in, and who tries to."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from moderation.review import passwords
from moderation.settings import Settings
from moderation.store import users
from moderation.store.review_tables import audit_log
from moderation.store.users import Role
from moderation.wiring import Services, open_services
from tests.conftest import Api, serve_api
from tests.integration.desk import add_user
from tests.integration.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider that is honest until it is told to lie."""
    running = Provider()
    yield running
    running.stop()


@pytest.fixture
def desk(settings: Settings, services: Services, provider: Provider) -> Iterator[Api]:
    """A desk with single sign-on, at which new people become moderators."""
    yield from _desk(settings, provider, oidc_role="moderator")


@pytest.fixture
def closed_desk(settings: Settings, services: Services, provider: Provider) -> Iterator[Api]:
    """A desk with single sign-on for those who have an account."""
    yield from _desk(settings, provider, oidc_role=None)


def _desk(settings: Settings, provider: Provider, **more: object) -> Iterator[Api]:
    opened = open_services(
        settings.model_copy(
            update={
                "oidc_issuer": provider.issuer,
                "oidc_client_id": CLIENT_ID,
                "oidc_client_secret": SecretStr(CLIENT_SECRET),
                "public_url": "http://desk.test",
                **more,
            }
        )
    )
    with serve_api(opened) as running:
        yield running
    opened.close()


@pytest.fixture
def browser(desk: Api) -> Iterator[httpx.Client]:
    """A browser with nobody signed in."""
    with httpx.Client(base_url=desk.url, timeout=60, trust_env=False) as client:
        yield client


def begin(browser: httpx.Client, next_: str = "/review/settings") -> str:
    """Press the button; the provider's answer is the callback to be visited."""
    begun = browser.get("/review/login/oidc", params={"next": next_})
    assert begun.status_code == 303
    answered = httpx.get(begun.headers["location"], trust_env=False)
    assert answered.headers["location"].startswith("http://desk.test/review/login/oidc/callback?")
    path: str = answered.headers["location"].removeprefix("http://desk.test")
    return path


def come(browser: httpx.Client) -> httpx.Response:
    """Sign in from the button to the end."""
    return browser.get(begin(browser))


def me(browser: httpx.Client) -> tuple[str, str] | None:
    """Name and role of who is signed in."""
    answer = browser.get("/v1/review/session")
    if answer.status_code != 200:
        return None
    return answer.json()["name"], answer.json()["role"]


def test_somebody_new_signs_in(desk: Api, browser: httpx.Client, provider: Provider) -> None:
    """The button leads to the provider and back; an account is made, and found the next time."""
    assert 'href="/review/login/oidc?next=/review"' in browser.get("/review/login").text
    done = come(browser)
    assert (done.status_code, done.headers["location"]) == (303, "/review/settings")
    assert me(browser) == ("olga", "moderator")
    # Known by the subject from then on, whatever the person is called there.
    provider.claims = {"preferred_username": "olga-married"}
    browser.cookies.clear()
    come(browser)
    assert me(browser) == ("olga", "moderator")
    with desk.services.database.connect() as connection:
        lines = connection.execute(select(audit_log.c.action).order_by(audit_log.c.id)).scalars()
        assert list(lines) == ["user.added", "session.opened", "session.opened"]


def test_without_single_sign_on_there_is_no_button(api: Api) -> None:
    """Where none is set, nothing offers it, and its addresses lead nowhere."""
    with httpx.Client(base_url=api.url, trust_env=False) as browser:
        assert "oidc" not in browser.get("/review/login").text
        assert browser.get("/review/login/oidc").status_code == 404
        assert browser.get("/review/login/oidc/callback?state=x&code=y").status_code == 404


LIES: dict[str, Callable[[Provider], None]] = {
    "another nonce": lambda p: p.claims.update(nonce="of another sign-in"),
    "no nonce": lambda p: p.claims.update(nonce=None),
    "for somebody else": lambda p: p.claims.update(aud="another-client"),
    "for nobody": lambda p: p.claims.update(aud=None),
    "for many, of another": lambda p: p.claims.update(aud=[CLIENT_ID, "another"], azp="another"),
    "for many, of nobody": lambda p: p.claims.update(aud=[CLIENT_ID, "another"]),
    "of another issuer": lambda p: p.claims.update(iss="https://evil.example"),
    "of no issuer": lambda p: p.claims.update(iss=None),
    "of an issuer with a slash": lambda p: p.claims.update(iss=f"{p.issuer}/"),
    "expired": lambda p: p.claims.update(exp=int(time.time()) - 120),
    "endless": lambda p: p.claims.update(exp=None),
    "of the future": lambda p: p.claims.update(iat=int(time.time()) + 600),
    "of nobody in particular": lambda p: p.claims.update(sub=None),
    "a subject of control characters": lambda p: p.claims.update(sub="a\nb"),
    "an endless subject": lambda p: p.claims.update(sub="a" * 5000),
    "unsigned": lambda p: setattr(p, "unsigned", True),
    "signed with what is public": lambda p: setattr(p, "hmac_with_public_key", True),
    "signed by somebody else": lambda p: setattr(
        p, "key", RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_token_that_is_not_as_it_must_be_opens_nothing(
    desk: Api, browser: httpx.Client, provider: Provider, lie: Callable[[Provider], None]
) -> None:
    """Not of this sign-in, not for us, not by the provider, not of now: nobody comes in."""
    lie(provider)
    answer = come(browser)
    assert answer.status_code == 401
    assert me(browser) is None
    with desk.services.database.connect() as connection:
        assert users.list_all(connection) == []
        assert connection.execute(select(audit_log.c.action)).scalars().all() == ["session.failed"]


def test_a_sign_in_cannot_be_replayed_or_given_away(desk: Api, browser: httpx.Client) -> None:
    """A callback works once, with the state it began with, in the browser in which it began."""
    callback = begin(browser)
    with httpx.Client(base_url=desk.url, trust_env=False) as victim:
        # Somebody is sent the attacker's own callback: they are not to work as the attacker.
        assert victim.get(callback).status_code == 401
        assert me(victim) is None
    # By that the state was used up.
    assert browser.get(callback).status_code == 401
    callback = begin(browser)
    assert browser.get(callback).status_code == 303
    browser.cookies.clear()
    assert browser.get(callback).status_code == 401
    for state in ("", "guessed", "\x00"):
        assert (
            browser.get(
                "/review/login/oidc/callback", params={"state": state, "code": "x"}
            ).status_code
            == 401
        )


def test_what_the_provider_did_not_agree_to_opens_nothing(browser: httpx.Client) -> None:
    """A refusal, a callback without a code, of a wrong code or of another issuer is none."""
    for change in (
        {"error": "access_denied"},
        {"code": ""},
        {"code": "guessed"},
        {"iss": "https://evil.example"},
    ):
        parts = urlsplit(begin(browser))
        query = {k: v[0] for k, v in parse_qs(parts.query).items()} | change
        answer = browser.get(parts.path, params=query)
        assert answer.status_code in (401, 503)
        assert me(browser) is None


def test_the_way_back_leads_to_the_desk_only(browser: httpx.Client) -> None:
    """Where the sign-in ends is a page of the desk, whatever it began with."""
    done = browser.get(begin(browser, "https://evil.example"))
    assert (done.status_code, done.headers["location"]) == (303, "/review")


def test_an_account_with_a_password_is_nobody_elses(desk: Api, browser: httpx.Client) -> None:
    """Who calls themselves like somebody with a password does not become them."""
    with desk.services.database.begin() as connection:
        hashed = passwords.hash_password("correct horse battery", name="olga")
        users.add(connection, "olga", Role.ADMIN, password_hash=hashed)
    answer = come(browser)
    assert answer.status_code == 403
    assert "Ask an admin" in answer.text
    assert me(browser) is None


def test_an_account_that_is_bound_already_is_nobody_elses(
    desk: Api, browser: httpx.Client, provider: Provider
) -> None:
    """Who takes the name of a colleague there does not become them here."""
    come(browser)
    browser.cookies.clear()
    provider.claims = {"sub": "person-2"}
    assert come(browser).status_code == 403
    assert me(browser) is None


def test_an_account_made_for_it_is_taken_by_its_name(closed_desk: Api, provider: Provider) -> None:
    """An admin's account without a password belongs to who comes by that name first."""
    with httpx.Client(base_url=closed_desk.url, trust_env=False) as browser:
        refused = come(browser)
        assert refused.status_code == 403
        assert "There is no account olga here." in refused.text
        add_user(closed_desk.services, "olga", Role.LEAD)
        assert come(browser).status_code == 303
        assert me(browser) == ("olga", "lead")


def test_a_disabled_account_stays_out(desk: Api, browser: httpx.Client) -> None:
    """The provider may know somebody whom the desk has sent away, before or after binding."""
    come(browser)
    with desk.services.database.begin() as connection:
        users.set_disabled(connection, "olga", disabled=True)
    assert me(browser) is None
    assert come(browser).status_code == 403
    assert me(browser) is None


@pytest.mark.parametrize(
    ("claims", "userinfo", "name"),
    [
        ({"preferred_username": "Olga.K"}, {}, "olga.k"),
        ({"preferred_username": None, "email": "O@x.org", "email_verified": True}, {}, "o@x.org"),
        ({"preferred_username": None, "email": "O@x.org", "email_verified": False}, {}, None),
        ({"preferred_username": None, "email": "O@x.org"}, {}, None),
        ({"preferred_username": "olga\u202eanna"}, {}, None),
        ({"preferred_username": "../admin"}, {}, None),
        ({"preferred_username": None}, {"preferred_username": "olga"}, "olga"),
        ({"preferred_username": None}, {}, None),
    ],
)
def test_what_somebody_is_called(
    desk: Api,
    browser: httpx.Client,
    provider: Provider,
    claims: dict[str, object],
    userinfo: dict[str, object],
    name: str | None,
) -> None:
    """By the name there, or by an address that was checked; by nothing that could deceive."""
    provider.claims, provider.userinfo = claims, userinfo
    assert come(browser).status_code == (403 if name is None else 303)
    assert (me(browser) or (None,))[0] == name


def test_a_document_about_somebody_else_is_refused(
    browser: httpx.Client, provider: Provider
) -> None:
    """What the provider tells of another subject names nobody."""
    provider.claims = {"preferred_username": None}
    provider.userinfo = {"sub": "person-2", "preferred_username": "anna"}
    assert come(browser).status_code == 401


def test_keys_may_be_exchanged(browser: httpx.Client, provider: Provider) -> None:
    """A token of a key that is newer than what was read is taken after asking anew."""
    come(browser)
    provider.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}, auto_kid=False)
    provider.published = [provider.key]
    browser.cookies.clear()
    assert come(browser).status_code == 303
    assert me(browser) is not None


def test_a_provider_that_is_away_or_another_is_told(
    browser: httpx.Client, provider: Provider
) -> None:
    """Without the provider, or with one that calls itself differently, nobody comes in so."""
    provider.calls_itself = "https://evil.example"
    answer = browser.get("/review/login/oidc")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    provider.calls_itself = provider.issuer
    assert come(browser).status_code == 303


def test_the_settings_are_whole() -> None:
    """An issuer without what belongs to it, or without encryption, is refused at the start."""
    whole = {
        "oidc_issuer": "https://login.example",
        "oidc_client_id": "desk",
        "public_url": "https://desk.example",
    }
    Settings(**whole)
    for missing in ("oidc_client_id", "public_url"):
        with pytest.raises(ValidationError, match="PUBLIC_URL"):
            Settings(**{k: v for k, v in whole.items() if k != missing})
    with pytest.raises(ValidationError, match="https"):
        Settings(**whole | {"oidc_issuer": "http://login.example"})
