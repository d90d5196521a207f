"""How often somebody may fail to sign in: counted in Redis, for all API processes together."""

import hashlib
import ipaddress
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from moderation.errors import InputRefused, ServiceUnavailable

_WINDOW_S = 600
# Beginnings of a single sign-on are no failures, but each leaves something in Redis for a while.
_BEGINNINGS = 100


class TooManyAttempts(InputRefused):
    """Too many failed log-ins; `retry_after_s` says when there is room for one."""

    def __init__(self, retry_after_s: int) -> None:
        minutes = math.ceil(retry_after_s / 60)
        super().__init__(
            "Too many failed log-ins. Try again in "
            + ("a minute." if minutes == 1 else f"{minutes} minutes.")
        )
        self.retry_after_s = retry_after_s


@contextmanager
def _redis_answers() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise ServiceUnavailable(
            "Nobody can sign in while Redis does not answer. Try again in a moment."
        ) from error


class LoginLimit:
    """Failed log-ins of a name and of an address. Without Redis nobody signs in.

    A try counts against its name before it is made, so that many at once are no way around,
    and against its address when it has failed, so that an office behind one address can come.
    """

    def __init__(self, client: "redis.Redis", *, attempts: int) -> None:
        storage = RedisStorage("redis://", connection_pool=client.connection_pool)
        self._limiter = MovingWindowRateLimiter(storage)
        self._failures = RateLimitItemPerSecond(attempts, _WINDOW_S, namespace="captionguard")
        self._beginnings = RateLimitItemPerSecond(_BEGINNINGS, _WINDOW_S, namespace="captionguard")

    @_redis_answers()
    def check(self, address: str | None) -> None:
        """`TooManyAttempts` if an address failed too often."""
        key = ("address", _network(address))
        if not self._limiter.test(self._failures, *key):
            raise self._refusal(self._failures, *key)

    @_redis_answers()
    def begin(self, name: str, address: str | None) -> None:
        """Count a try of a name; `TooManyAttempts` if it or its address failed too often."""
        self.check(address)
        self._take(self._failures, "name", _digest(name))

    @_redis_answers()
    def begin_elsewhere(self, address: str | None) -> None:
        """Count the beginning of a single sign-on; `TooManyAttempts` for too many."""
        self.check(address)
        self._take(self._beginnings, "elsewhere", _network(address))

    @_redis_answers()
    def failed(self, address: str | None) -> None:
        """Count a failure of an address."""
        self._limiter.hit(self._failures, "address", _network(address))

    @_redis_answers()
    def succeeded(self, name: str) -> None:
        """Forget the tries of a name."""
        self._limiter.clear(self._failures, "name", _digest(name))

    def _take(self, item: RateLimitItem, *key: str) -> None:
        if not self._limiter.hit(item, *key):
            raise self._refusal(item, *key)

    def _refusal(self, item: RateLimitItem, *key: str) -> TooManyAttempts:
        wait_s = self._limiter.get_window_stats(item, *key).reset_time - time.time()
        return TooManyAttempts(min(_WINDOW_S, max(1, math.ceil(wait_s))))


def _digest(name: str) -> str:
    # Whatever somebody types as a name, maybe a password, is no key of Redis.
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _network(address: str | None) -> str:
    """The address, or the /64 of an IPv6 address: one customer has all of it."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
