"""ID tokens of OpenID Connect: signed by the provider, for us, for this sign-in, and of now."""

import hmac
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

# Never `none`, and none with a shared secret: a provider's public keys verify.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_CLOCKS_APART_S = 60
_MAX_SUBJECT_CHARS = 255


class TokenRefused(Exception):
    """The token proves nothing; the message says why, for the log."""


class UnknownSignature(TokenRefused):
    """None of the keys made the signature, or not in a way that is taken."""


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """The provider's public keys; `ValueError` for what are none."""
    try:
        return KeySet.import_key_set(document)  # type: ignore[arg-type]
    except (JoseError, KeyError, TypeError) as error:
        raise ValueError(f"no set of keys: {type(error).__name__}") from error


def verify(
    id_token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """The claims of a token that is exactly as it must be, else `TokenRefused`."""
    try:
        claims = jwt.decode(id_token, keys, algorithms=_ALGORITHMS).claims
    except (JoseError, ValueError) as error:
        raise UnknownSignature(type(error).__name__) from error
    registry = JWTClaimsRegistry(
        leeway=_CLOCKS_APART_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        registry.validate(claims)
    except JoseError as error:
        raise TokenRefused(str(error)) from error
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise TokenRefused("nonce")
    is_for_many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if is_for_many else client_id) != client_id:
        raise TokenRefused("authorized party")
    if len(claims["sub"]) > _MAX_SUBJECT_CHARS or not claims["sub"].isprintable():
        raise TokenRefused("subject")
    return dict(claims)
