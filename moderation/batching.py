"""Batches that form by themselves: everything staged goes, nothing waits for company."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Staged(Generic[T, R]):
    item: T
    future: "Future[R]" = field(default_factory=Future)


class Batcher(Generic[T, R]):
    """Hands items from many threads to `process`, as many at once as have been staged.

    `process` runs on one thread and is never waited for while something is staged: a
    batch is whatever arrived while the one before was running, at most `max_items`. It
    returns one result an item, in order. An exception of it reaches all of its batch.
    """

    def __init__(
        self,
        process: Callable[[Sequence[T]], Sequence[R]],
        *,
        max_items: int,
        name: str,
        max_staged: int | None = None,
    ) -> None:
        self._process = process
        self._max_items = max_items
        self._staged: queue.Queue[_Staged[T, R] | None] = queue.Queue(max_staged or 4 * max_items)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> "Future[R]":
        """Stage one item; blocks while too many are staged, which bounds the memory.

        Raises `RuntimeError` once the batcher is closed.
        """
        if self._closed.is_set():
            raise RuntimeError("the batcher is closed")
        staged: _Staged[T, R] = _Staged(item)
        self._staged.put(staged)
        return staged.future

    def close(self) -> None:
        """Finish what is staged, then stop the thread."""
        self._closed.set()
        self._staged.put(None)
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            first = self._staged.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < self._max_items:
                try:
                    following = self._staged.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    closing = True
                    break
                batch.append(following)
            # From here on none can be cancelled: setting a cancelled future is an error.
            self._settle([s for s in batch if s.future.set_running_or_notify_cancel()])

    def _settle(self, batch: list[_Staged[T, R]]) -> None:
        if not batch:
            return
        try:
            results = self._process([staged.item for staged in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except Exception as error:
            for staged in batch:
                staged.future.set_exception(error)
            return
        for staged, result in zip(batch, results, strict=True):
            staged.future.set_result(result)
