"""Batches that form by themselves: everything staged goes, nothing waits for company."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Stage(Generic[T]):
    """Hands items from many threads to `process`, as many at once as have been staged.

    `process` runs on `threads` threads, none of which is idle while something is staged:
    a batch is a fair share of what arrived while the ones before were running, at most
    `max_items`. It must not raise.
    """

    def __init__(
        self,
        process: Callable[[list[T]], object],
        *,
        max_items: int,
        name: str,
        threads: int = 1,
        max_staged: int | None = None,
    ) -> None:
        self._process = process
        self._max_items = max_items
        self._max_staged = max_staged or 4 * max_items * threads
        self._staged: deque[T] = deque()
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, items: Sequence[T]) -> None:
        """Stage items, in order; blocks while too many are staged, which bounds the memory.

        Raises `RuntimeError` once closed, also where some of them are staged by then and will
        be processed.
        """
        taken = 0
        while taken < len(items):
            with self._room:
                while len(self._staged) >= self._max_staged and not self._closed:
                    self._room.wait()
                if self._closed:
                    raise RuntimeError("the stage is closed")
                some = items[taken : taken + self._max_staged - len(self._staged)]
                self._staged.extend(some)
                taken += len(some)
                self._changed.notify(len(some))

    def close(self) -> None:
        """Finish what is staged, then stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._room.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            self._process(batch)
            # Else an idle thread would keep the last batch in memory.
            del batch

    def _take(self) -> list[T]:
        """The next batch; empty once closed and nothing is left."""
        with self._changed:
            while not self._staged and not self._closed:
                self._changed.wait()
            # A thread that took everything would leave the others idle.
            share = -(-len(self._staged) // len(self._threads))
            batch = [self._staged.popleft() for _ in range(min(share, self._max_items))]
            self._room.notify(len(batch))
            return batch
