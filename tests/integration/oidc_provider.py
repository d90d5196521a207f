"""A small OpenID Connect provider over HTTP, which can be told to lie."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "captionguard-desk", "a secret of the tests"


class Provider:
    """Knows one person at a time, and says of them what `claims` says.

    `claims` are merged over honest ones, `None` leaving one out; `key` signs, whether it is
    among the `published` ones or not.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, auto_kid=False)
        self.published = [self.key]
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.unsigned = False
        self.hmac_with_public_key = False
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(path.query).items()}
                provider.requests.append(path.path)
                if path.path == "/.well-known/openid-configuration":
                    self._answer(provider.metadata())
                elif path.path == "/keys":
                    public = [key.as_dict(private=False) for key in provider.published]
                    self._answer({"keys": public})
                elif path.path == "/authorize":
                    self.send_response(302)
                    self.send_header("Location", provider.authorize(query))
                    self.end_headers()
                elif path.path == "/userinfo":
                    self._answer({"sub": "person-1"} | provider.userinfo)
                else:
                    self._answer({"error": "not_found"}, 404)

            def do_POST(self) -> None:
                provider.requests.append(self.path)
                length = int(self.headers["Content-Length"])
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
                is_client = self.headers.get("Authorization") == f"Basic {basic}"
                token = provider.redeem(form) if is_client else None
                self._answer(token or {"error": "invalid_grant"}, 200 if token else 400)

            def _answer(self, document: dict[str, Any], status: int = 200) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.calls_itself = self.issuer

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def metadata(self) -> dict[str, Any]:
        """What the provider says of itself."""
        return {
            "issuer": self.calls_itself,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes when the person has agreed."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def redeem(self, form: dict[str, str]) -> dict[str, Any] | None:
        """A token for a code, once, and only for whom it was made."""
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = _base64(digest)
        if asked is None or asked["code_challenge"] != challenge:
            return None
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return None
        token = {"access_token": "a", "token_type": "Bearer", "expires_in": 60}
        return token | {"id_token": self._id_token(asked["nonce"])}

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        honest = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "person-1", "nonce": nonce, "iat": now,
            "exp": now + 300, "preferred_username": "olga",
        }  # fmt: skip
        claims = {k: v for k, v in (honest | self.claims).items() if v is not None}
        if self.unsigned:
            return f"{_part({'alg': 'none'})}.{_part(claims)}."
        if self.hmac_with_public_key:
            signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
            shared = self.published[0].as_pem(private=False)
            return f"{signed}.{_base64(hmac.digest(shared, signed.encode(), 'sha256'))}"
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)


def _part(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
