"""Opens sockets for untrusted URLs, to public addresses only and never for too long.

This is the one place where a name becomes an address: it is resolved once, every answer is
checked, and the connection goes to one of these very answers.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

import httpcore
import httpx

from moderation.media.addresses import is_public

Resolve = Callable[[str, int], Sequence[str]]
"""Resolves host and port to addresses as text; raises OSError."""

_MAX_ADDRESSES_TRIED = 4


class AddressRefusedError(Exception):
    """A host has an address that is not public."""


class GuardedNetwork(httpcore.NetworkBackend):
    """Opens connections to checked addresses only.

    httpcore hands the timeouts of a request on to the stream as they are, so ours are not
    durations but deadlines on the monotonic clock: that alone stops a server that sends a
    byte now and then, each in good time, also within the headers.
    """

    def __init__(
        self, inner: httpcore.NetworkBackend, resolve: Resolve, *, allow_private: bool
    ) -> None:
        self._inner = inner
        self._resolve = resolve
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a checked address of `host`; `timeout` is a deadline.

        Raises `AddressRefusedError`, `httpcore.ConnectError` or `httpcore.ConnectTimeout`.
        """
        addresses = _resolve_by(timeout, self._resolve, host, port)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            # One private answer among public ones is an attempt, not an accident.
            raise AddressRefusedError(host)
        candidates = addresses[:_MAX_ADDRESSES_TRIED]
        for index, address in enumerate(candidates):
            attempts_left = len(candidates) - index
            try:
                stream = self._inner.connect_tcp(
                    address,
                    port,
                    _left_s(timeout, httpcore.ConnectTimeout) / attempts_left,
                    local_address,
                    socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if attempts_left == 1:
                    raise
            else:
                return _DeadlineStream(stream)
        raise httpcore.ConnectError("the name has no address")


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose `timeout` arguments are deadlines on the monotonic clock."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left_s(deadline: float | None, timed_out: type[httpcore.TimeoutException]) -> float:
    if deadline is None:
        raise ValueError("every request of a Fetcher has a deadline")
    left = deadline - monotonic()
    if left <= 0:
        raise timed_out("the deadline has passed")
    return left


def guarded_pool(
    *,
    idle_connections: int,
    idle_s: float,
    allow_private: bool,
    resolve: Resolve | None = None,
    network: httpcore.NetworkBackend | None = None,
    tls: ssl.SSLContext | None = None,
) -> httpcore.ConnectionPool:
    """A pool of connections that `GuardedNetwork` opens; the last three replace the system's."""
    return httpcore.ConnectionPool(
        ssl_context=tls or httpx.create_ssl_context(),
        max_connections=None,  # the caller's threads are the limit
        max_keepalive_connections=idle_connections,
        keepalive_expiry=idle_s,
        network_backend=GuardedNetwork(
            network or httpcore.SyncBackend(),
            resolve or system_resolve,
            allow_private=allow_private,
        ),
    )


def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system finds for `host`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def _resolve_by(deadline: float | None, resolve: Resolve, host: str, port: int) -> Sequence[str]:
    """Look `host` up, but not for longer than until `deadline`.

    The system's look-up cannot be told a time, so it runs in a thread that is left behind
    when too slow; the system's own limit, seconds later, ends it.
    """
    answer: list[Sequence[str]] = []
    trouble: list[Exception] = []

    def look_up() -> None:
        try:
            answer.append(resolve(host, port))
        except Exception as error:
            trouble.append(error)

    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(_left_s(deadline, httpcore.ConnectTimeout))
    if answer:
        return answer[0]
    if trouble:
        raise httpcore.ConnectError("the host's name is not found") from trouble[0]
    raise httpcore.ConnectTimeout("the name look-up took too long")
