"""Tells a platform's endpoint of an event: signed, to public addresses only, never for too long.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com), as are the waits
between tries. The address check is the image fetcher's (`media.network`).
"""

import base64
import json
import math
import random
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from uuid import UUID

import httpcore
from standardwebhooks import Webhook
from uuid_utils.compat import uuid7

from moderation.errors import InputRefused
from moderation.media.network import AddressRefusedError, Resolve, guarded_pool
from moderation.media.urls import parse_url, port_of

GONE = 410
ROTATION_OVERLAP = timedelta(hours=24)
# Standard Webhooks' own: ten tries within little more than three days.
WAITS_S = (5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
# What failed together is not to come back together.
_JITTER = 0.1
_MAY_SAY_WHEN = (429, 503)
_LONGEST_WAIT_S = 24 * 3600.0

# An answer's text is of no use to us; a short one is read so that its connection can be kept.
_READ_BYTES = 4096
_IDLE_CONNECTIONS = 64
_IDLE_S = 30.0


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way to one endpoint; `id` is the same in every try."""

    id: UUID
    body: str
    url: str
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try; `problem` is None if the endpoint took the message."""

    status: int | None
    problem: str | None
    took_s: float
    retry_after_s: float | None = None


def new_secret() -> str:
    """A secret that signs for an endpoint."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def check_endpoint_url(url: str, *, allow_private: bool) -> None:
    """Raise `InputRefused` if nothing would be sent to `url`; looks nothing up."""
    parsed = parse_url(url, allow_private=allow_private, field="webhook_url")
    if parsed.scheme != "https" and not allow_private:
        raise InputRefused("The webhook URL must begin with https://.", field="webhook_url")


def ping(url: str, signing: Sequence[str]) -> Message:
    """A message that tells nothing, to see whether an endpoint takes it."""
    id_ = uuid7()
    document = {"type": "ping", "timestamp": datetime.now(UTC).isoformat(), "data": {}}
    return Message(id_, json.dumps(document), url, signing)


def wait_after(attempt: int, answer: Answer) -> timedelta | None:
    """How long to wait after a failed try, counted from 1; None after the last."""
    if attempt > len(WAITS_S) or answer.status == GONE:
        return None
    wait_s = WAITS_S[attempt - 1] * random.uniform(1, 1 + _JITTER)  # noqa: S311 - no secret
    return timedelta(seconds=max(wait_s, answer.retry_after_s or 0))


class Sender:
    """Sends messages over HTTP(S); threads may share one. Close it after use.

    `timeout_s` bounds one try from name look-up to the answer's last byte. `resolve`, `network`
    and `tls` replace name look-up, sockets and trusted certificates.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        allow_private: bool,
        resolve: Resolve | None = None,
        network: httpcore.NetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
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

    def send(self, message: Message) -> Answer:
        """Make one try. Redirects are not followed: they would take the message elsewhere."""
        started_s = monotonic()
        status, retry_after_s, problem = None, None, None
        try:
            status, retry_after_s = self._post(message, deadline=started_s + self._timeout_s)
        except InputRefused as error:
            problem = str(error)
        except AddressRefusedError:
            problem = "the host has a private or reserved address"
        except httpcore.TimeoutException:
            problem = f"took longer than {self._timeout_s:g} s"
        except httpcore.ConnectError as error:
            problem = f"could not be reached ({error})"
        except (httpcore.NetworkError, httpcore.ProtocolError):
            problem = "broke off or did not answer in HTTP"
        if status is not None and not 200 <= status < 300:
            not_followed = "; redirects are not followed" if 300 <= status < 400 else ""
            problem = f"answered {status}{not_followed}"
        return Answer(status, problem, monotonic() - started_s, retry_after_s)

    def _post(self, message: Message, *, deadline: float) -> tuple[int, float | None]:
        check_endpoint_url(message.url, allow_private=self._allow_private)
        url = parse_url(message.url, allow_private=self._allow_private)
        body = message.body.encode()
        with self._pool.stream(
            b"POST",
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path
            ),
            headers=[(b"Host", url.netloc), *_headers(message, len(body))],
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write"), deadline)},
        ) as response:
            headers = {name.lower(): value for name, value in response.headers}
            _read_a_little(response)
            said = headers.get(b"retry-after") if response.status in _MAY_SAY_WHEN else None
            return response.status, None if said is None else _seconds(said.decode("latin-1"))


def _headers(message: Message, length: int) -> list[tuple[bytes, bytes]]:
    now = datetime.now(UTC)
    signatures = [
        Webhook(secret).sign(str(message.id), now, message.body) for secret in message.secrets
    ]
    return [
        (b"User-Agent", b"captionguard"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(length).encode()),
        (b"webhook-id", str(message.id).encode()),
        (b"webhook-timestamp", str(math.floor(now.timestamp())).encode()),
        (b"webhook-signature", " ".join(signatures).encode()),
    ]


def _read_a_little(response: httpcore.Response) -> None:
    """Read a short text to its end; however the text ends, the status has been said."""
    read = 0
    try:
        for chunk in response.iter_stream():
            read += len(chunk)
            if read > _READ_BYTES:
                return
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        return


def _seconds(retry_after: str) -> float | None:
    """Seconds of a Retry-After: a number of them, or a date; None if it is neither."""
    text = retry_after.strip()
    try:
        if text.isascii() and text.isdigit():
            wait_s = float(text)
        else:
            wait_s = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
