"""Fetches images from URLs that anyone may have written, without reaching inside.

The address check sits where the socket is opened (`network.GuardedNetwork`): a name is resolved
once, every answer must be public, and the connection goes to one of these very addresses.
A name that changes its answer in between (DNS rebinding) or a redirect gains nothing, while
TLS and the Host header keep the name.
"""

import ssl
from time import monotonic

import httpcore
import httpx

from moderation.errors import InputRefused, TemporaryFault, Unscorable
from moderation.media.network import AddressRefusedError, Resolve, guarded_pool
from moderation.media.urls import check_url, parse_url, port_of, shown
from moderation.settings import Settings
from moderation.types import Reason

__all__ = ["Fetcher", "check_url", "open_fetcher"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_COME_BACK_LATER = frozenset({408, 425, 429})
_IDLE_CONNECTIONS = 32
_IDLE_S = 10.0
_HEADERS = (
    (b"User-Agent", b"captionguard"),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
)


class Fetcher:
    """Fetches images over HTTP(S); threads may share one. Close it after use.

    `timeout_s` bounds one fetch from name look-up to last byte, redirects included.
    `allow_private` switches the address check off, for tests and closed networks. Proxies and
    `.netrc` of the environment are not used: a proxy would open connections unchecked.
    `resolve`, `network` and `tls` replace name look-up, sockets and trusted certificates.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_s: float,
        max_redirects: int,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        network: httpcore.NetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._allow_private = allow_private
        self._pool = guarded_pool(
            idle_connections=_IDLE_CONNECTIONS,
            idle_s=_IDLE_S,
            allow_private=allow_private,
            resolve=resolve,
            network=network,
            tls=tls,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def fetch(self, url: str) -> bytes:
        """Return the body at `url`, following redirects.

        Raises `Unscorable` for what stays as it is (refused URL, not found, too many bytes,
        empty) and `TemporaryFault` for what may pass (no answer, 429, 5xx, out of time).
        Messages never show a URL's query.
        """
        deadline = monotonic() + self._timeout_s
        target = self._parse(url)
        for _ in range(self._max_redirects + 1):
            try:
                outcome = self._get(target, deadline)
            except AddressRefusedError as error:
                raise Unscorable(
                    Reason.IMAGE_URL_REFUSED,
                    f"{shown(target)} leads to a private or reserved address",
                ) from error
            except httpcore.TimeoutException as error:
                raise _unreachable(target, f"took longer than {self._timeout_s:g} s") from error
            except httpcore.NetworkError as error:
                raise _unreachable(target, f"could not be reached ({error})") from error
            except httpcore.ProtocolError as error:
                raise _unreachable(target, "broke off or did not answer in HTTP") from error
            if isinstance(outcome, bytes):
                return outcome
            target = outcome
        raise Unscorable(
            Reason.IMAGE_URL_REFUSED,
            f"more than {self._max_redirects} redirects, the last one to {shown(target)}",
        )

    def _parse(self, url: str) -> httpx.URL:
        try:
            return parse_url(url, allow_private=self._allow_private)
        except InputRefused as error:
            raise Unscorable(Reason.IMAGE_URL_REFUSED, str(error)) from error

    def _get(self, url: httpx.URL, deadline: float) -> bytes | httpx.URL:
        """Make one request; return the body, or where it redirects to."""
        timeouts = dict.fromkeys(("connect", "read", "write"), deadline)
        with self._pool.stream(
            b"GET",
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path
            ),
            headers=[(b"Host", url.netloc), *_HEADERS],
            extensions={"timeout": timeouts},
        ) as response:
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                return self._follow(url, headers[b"location"])
            _check_status(url, response.status)
            if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
                # Unpacking is how a small answer becomes a huge one, and images gain nothing.
                raise Unscorable(
                    Reason.IMAGE_UNSUPPORTED,
                    f"{shown(url)} was sent compressed although that was not asked for",
                )
            return self._read(url, response, headers.get(b"content-length", b""))

    def _follow(self, url: httpx.URL, location: bytes) -> httpx.URL:
        try:
            following = str(url.join(location.decode("utf-8")))
        except (httpx.InvalidURL, ValueError) as error:
            raise Unscorable(
                Reason.IMAGE_URL_REFUSED, f"{shown(url)} redirects to what is no URL"
            ) from error
        return self._parse(following)

    def _read(self, url: httpx.URL, response: httpcore.Response, announced: bytes) -> bytes:
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_many_bytes(url)
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_many_bytes(url)
        if not body:
            raise Unscorable(Reason.IMAGE_CORRUPT, f"{shown(url)} is empty")
        return bytes(body)

    def _too_many_bytes(self, url: httpx.URL) -> Unscorable:
        return Unscorable(
            Reason.IMAGE_TOO_MANY_BYTES,
            f"{shown(url)} has more than the {self._max_bytes} bytes that are allowed",
        )


def open_fetcher(settings: Settings) -> Fetcher:
    """A fetcher as an operator has set it."""
    return Fetcher(
        max_bytes=settings.max_image_bytes,
        timeout_s=settings.fetch_timeout_s,
        max_redirects=settings.fetch_redirects,
        allow_private=settings.fetch_allow_private,
    )


def _check_status(url: httpx.URL, status: int) -> None:
    if 200 <= status < 300:
        return
    if status in _COME_BACK_LATER or status >= 500:
        raise _unreachable(url, f"answered {status}")
    refuses = {401: ": the host refuses access", 403: ": the host refuses access"}
    raise Unscorable(
        Reason.IMAGE_NOT_FOUND, f"{shown(url)} answered {status}{refuses.get(status, '')}"
    )


def _unreachable(url: httpx.URL, what: str) -> TemporaryFault:
    return TemporaryFault(Reason.IMAGE_UNREACHABLE, f"{shown(url)} {what}")
