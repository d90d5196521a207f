"""Submissions on their way through a worker, and the messages that carry them."""

import threading
import time
from dataclasses import dataclass, field

from moderation.errors import TemporaryFault
from moderation.published import Published
from moderation.scoring.flights import Outcome
from moderation.types import Submission


class Carrier:
    """A message under way: done when each of its submissions has been seen to."""

    def __init__(self) -> None:
        self._left = 0
        self._fault: BaseException | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()

    def expect(self, count: int) -> None:
        """It carries so many; to be called once, before the first of them is seen to."""
        self._left = count
        if not count:
            self._done.set()

    def give_up(self, fault: BaseException) -> None:
        """Whatever it carries, it will not be seen to."""
        with self._lock:
            self._fault = self._fault or fault
        self._done.set()

    def see_to(self, count: int, fault: BaseException | None = None) -> None:
        """So many more are stored or put off; with a fault, they are neither."""
        with self._lock:
            self._left -= count
            self._fault = self._fault or fault
            is_done = not self._left
        if is_done:
            self._done.set()

    def wait(self) -> None:
        """Wait until all are seen to. Raises what kept some from it."""
        self._done.wait()
        if self._fault is not None:
            raise self._fault


@dataclass(slots=True, eq=False)
class Journey:
    """How one submission fares; times in seconds, of its stages for its log line.

    `published` is what it is judged by, whatever is published meanwhile.
    """

    submission: Submission
    carrier: Carrier
    published: Published
    started_s: float = field(default_factory=time.perf_counter)
    stages_s: dict[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    fault: TemporaryFault | None = None
