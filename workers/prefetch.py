"""How many messages a worker takes ahead: many small ones, few of the packed ones.

Celery counts messages, and a packed one may carry 256 submissions: what one worker has taken
and not begun, an idle one beside it cannot have.
"""

import threading
import time
from typing import Any

from celery import bootsteps

# As many as some messages carry, and what known images may let a worker take for a while.
_LEAST_ITEMS, _MOST_ITEMS = 1024, 8192
# Longer than the consumer may sleep before it notices that it may take more (celery 6941).
_AHEAD_S = 10.0
_RATE_WINDOW_S = 2.0


class Prefetch:
    """Closes the consumer while some seconds' work is taken, and opens it again."""

    def __init__(self, *, most_messages: int) -> None:
        self._most_messages = most_messages
        self._lock = threading.Lock()
        self._qos: Any = None
        self._told = most_messages
        self._messages = 0
        self._items = 0
        self._done_items = 0
        self._since_s = time.monotonic()
        self._per_s = 0.0

    def attach(self, qos: Any) -> None:
        """Steer this consumer, which has taken nothing yet."""
        with self._lock:
            self._qos = qos
            self._told = self._most_messages
            self._steer()

    def begin(self, items: int) -> None:
        """A message of so many submissions is worked on from now."""
        with self._lock:
            self._messages += 1
            self._items += items
            self._steer()

    def end(self, items: int) -> None:
        """It is done."""
        with self._lock:
            self._messages -= 1
            self._items -= items
            self._done_items += items
            elapsed_s = time.monotonic() - self._since_s
            if elapsed_s >= _RATE_WINDOW_S:
                self._per_s = self._done_items / elapsed_s
                self._done_items, self._since_s = 0, time.monotonic()
            self._steer()

    @property
    def messages(self) -> int:
        """How many messages may be taken and not acknowledged at this moment."""
        ahead = min(_MOST_ITEMS, max(_LEAST_ITEMS, self._per_s * _AHEAD_S))
        is_full = self._items >= ahead
        return max(1, self._messages) if is_full else self._most_messages

    def _steer(self) -> None:
        if self._qos is None:
            return
        # Only our own changes: Celery adds one for each message that waits for its hour.
        change = self.messages - self._told
        self._told += change
        if change > 0:
            self._qos.increment_eventually(change)
        elif change < 0:
            self._qos.decrement_eventually(-change)


class PrefetchStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Hands each new consumer to the runtime's `Prefetch`."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """The connection is there, perhaps again."""
        parent.app.captionguard_runtime.prefetch.attach(parent.qos)
