"""Single sign-on by OpenID Connect: the provider says who somebody is, and signs it.

The authorization code flow with PKCE. What a sign-in needs until its end (nonce, verifier, where
to go) is kept in Redis under its state, is taken out once, and is bound to the browser by a
cookie: no state works twice, or in somebody else's browser.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import redis
import structlog
from fastapi.concurrency import run_in_threadpool

from moderation.errors import CaptionguardError, ServiceUnavailable
from moderation.settings import Settings

# authlib and joserfc are loaded where somebody signs in so: they take long, and most desks have
# no single sign-on.
if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client
    from joserfc.jwk import KeySet

_SIGN_IN_S = 600
_KNOWN_S = 3600
_TIMEOUT_S = 10.0
_T = TypeVar("_T")

log = structlog.get_logger()


class NotProven(CaptionguardError):
    """The provider's answer does not prove who somebody is; the log says why."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that goes on at the provider; `cookie` binds it to this browser."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says somebody is; `name` is what an account of theirs would be called."""

    subject: str
    name: str | None
    next: str


@dataclass(frozen=True, slots=True)
class _Provider:
    """What the provider says of itself, and until when that is believed."""

    metadata: Mapping[str, Any]
    keys: "KeySet"
    until_s: float


class SingleSignOn:
    """The provider that is set, and the sign-ins under way there."""

    def __init__(self, settings: Settings, client: "redis.Redis") -> None:
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret else None
        self._redirect_uri = f"{(settings.public_url or '').rstrip('/')}/review/login/oidc/callback"
        self._redis = client
        self._provider: _Provider | None = None

    async def begin(self, next_: str) -> Begun:
        """Where to send the browser, and the cookie that it is to come back with."""
        provider = await self._discover()
        state, nonce, verifier, cookie = (secrets.token_urlsafe(32) for _ in range(4))
        kept = {"nonce": nonce, "verifier": verifier, "next": next_, "cookie": _digest(cookie)}
        await run_in_threadpool(self._keep, state, json.dumps(kept))
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                provider.metadata["authorization_endpoint"],
                state=state, nonce=nonce, code_verifier=verifier,
            )  # fmt: skip
        return Begun(url, cookie)

    async def finish(self, answer: Mapping[str, str], cookie: str | None) -> Person:
        """Who came back; `NotProven` for everything that is not exactly as it must be."""
        raw = await run_in_threadpool(self._take, answer.get("state", ""))
        kept = json.loads(raw) if raw else {}
        if not kept or not hmac.compare_digest(kept["cookie"], _digest(cookie or "")):
            raise _refused("state")
        if "error" in answer or not answer.get("code"):
            raise _refused("no code")
        if answer.get("iss", self._issuer) != self._issuer:
            raise _refused("issuer of the answer")
        provider = await self._discover()
        async with self._client() as client:
            token = await _ask(
                client.fetch_token(
                    provider.metadata["token_endpoint"],
                    code=answer["code"], code_verifier=kept["verifier"],
                )
            )  # fmt: skip
            claims = await self._verified(str(token.get("id_token", "")), kept["nonce"])
            if not {"preferred_username", "email"} & claims.keys():
                claims |= await self._more(client, provider, claims["sub"], token["access_token"])
        return Person(f"{self._issuer} {claims['sub']}", _name_of(claims), kept["next"])

    async def _verified(self, id_token: str, nonce: str) -> dict[str, Any]:
        from moderation.review.id_tokens import TokenRefused, UnknownSignature, verify

        expected = {"issuer": self._issuer, "client_id": self._client_id, "nonce": nonce}
        try:
            try:
                return verify(id_token, (await self._discover()).keys, **expected)
            except UnknownSignature:
                # Keys are exchanged from time to time: ask once more before refusing.
                return verify(id_token, (await self._discover(anew=True)).keys, **expected)
        except TokenRefused as error:
            raise _refused(str(error)) from error

    async def _more(
        self, client: "AsyncOAuth2Client", provider: _Provider, subject: str, access_token: str
    ) -> dict[str, Any]:
        """What else the provider tells of the person, where the ID token is a short one."""
        endpoint = provider.metadata.get("userinfo_endpoint")
        if endpoint is None:
            return {}
        bearer = {"Authorization": f"Bearer {access_token}"}
        more = await _document(client.request("GET", endpoint, withhold_token=True, headers=bearer))
        if more.get("sub") != subject:
            raise _refused("subject of the user's document")
        return more

    async def _discover(self, *, anew: bool = False) -> _Provider:
        from moderation.review.id_tokens import read_keys

        known = self._provider
        if known is not None and not anew and known.until_s > time.monotonic():
            return known
        well_known = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        async with self._client() as client:
            metadata = await _document(client.request("GET", well_known, withhold_token=True))
            if metadata.get("issuer") != self._issuer:
                raise _unreachable("it calls itself another issuer")
            missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - metadata.keys()
            if missing:
                raise _unreachable(f"it names no {', '.join(sorted(missing))}")
            document = await _document(
                client.request("GET", metadata["jwks_uri"], withhold_token=True)
            )
        try:
            keys = read_keys(document)
        except ValueError as error:
            raise _unreachable(str(error)) from error
        self._provider = _Provider(metadata, keys, time.monotonic() + _KNOWN_S)
        return self._provider

    def _client(self) -> "AsyncOAuth2Client":
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        return AsyncOAuth2Client(
            client_id=self._client_id, client_secret=self._secret, scope="openid profile email",
            redirect_uri=self._redirect_uri, code_challenge_method="S256", timeout=_TIMEOUT_S,
        )  # fmt: skip

    def _keep(self, state: str, kept: str) -> None:
        try:
            self._redis.set(_key(state), kept, ex=_SIGN_IN_S)
        except redis.RedisError as error:
            raise _no_redis() from error

    def _take(self, state: str) -> bytes | str | None:
        try:
            return self._redis.getdel(_key(state))
        except redis.RedisError as error:
            raise _no_redis() from error


def _name_of(claims: Mapping[str, Any]) -> str | None:
    """The account's name: what people call themselves there, or an address that was checked."""
    preferred = claims.get("preferred_username")
    if isinstance(preferred, str) and preferred:
        return preferred.lower()
    email = claims.get("email")
    if isinstance(email, str) and email and claims.get("email_verified") is True:
        return email.lower()
    return None


async def _ask(answer: Awaitable[_T]) -> _T:
    try:
        return await answer
    # authlib takes whichever HTTP client there is, each with exceptions of its own.
    except Exception as error:
        raise _unreachable(type(error).__name__) from error


async def _document(answer: Awaitable[Any]) -> dict[str, Any]:
    async def read() -> Any:
        return (await answer).raise_for_status().json()

    document = await _ask(read())
    if not isinstance(document, dict):
        raise _unreachable("its document is none")
    return document


def _unreachable(why: str) -> ServiceUnavailable:
    log.warning("single_sign_on_unavailable", why=why)
    return ServiceUnavailable("The single sign-on does not answer. Try again in a moment.")


def _refused(why: str) -> NotProven:
    log.warning("single_sign_on_refused", why=why)
    return NotProven("That sign-in was not completed, or was completed already. Begin once more.")


def _no_redis() -> ServiceUnavailable:
    return ServiceUnavailable("Nobody can sign in while Redis does not answer.")


def _key(state: str) -> str:
    return f"captionguard:sign-in:{_digest(state)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
