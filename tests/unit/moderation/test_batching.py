"""Batches form by themselves, and every item is in one."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.batching import Stage
from tests.conftest import eventually
from tests.unit.threads import PATIENCE_S, is_waiting_for_room


class _Batches:
    """Notes its batches; the first ones stay under way until `go_on` is set."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Semaphore(0)
        self.go_on = threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self, items: Sequence[int]) -> None:
        self.batches.append(list(items))
        self.started.release()
        assert self.go_on.wait(PATIENCE_S)

    @property
    def items(self) -> list[int]:
        """All that has come, batch by batch."""
        return [item for batch in self.batches for item in batch]


@contextmanager
def _stage(
    process: _Batches, *, max_items: int, max_staged: int | None = None, threads: int = 1
) -> Iterator[Stage[int]]:
    """A stage; when it is left, all that was staged is done."""
    stage = Stage(process, max_items=max_items, name="test", max_staged=max_staged, threads=threads)
    try:
        yield stage
    finally:
        process.go_on.set()
        stage.close()


@settings(max_examples=40)
@given(
    calls=st.lists(st.integers(0, 9), max_size=20),
    max_items=st.integers(1, 9),
    max_staged=st.none() | st.integers(1, 5),
    n_callers=st.integers(1, 8),
    n_threads=st.integers(1, 4),
)
def test_every_item_is_in_one_batch(
    calls: list[int], max_items: int, max_staged: int | None, n_callers: int, n_threads: int
) -> None:
    """However many threads hand in and take up, each item is processed once, in small batches."""
    batches = _Batches()
    ends = [sum(calls[: place + 1]) for place in range(len(calls))]
    staged = [range(end - count, end) for count, end in zip(calls, ends, strict=True)]
    with (
        _stage(batches, max_items=max_items, max_staged=max_staged, threads=n_threads) as stage,
        ThreadPoolExecutor(n_callers) as callers,
    ):
        list(callers.map(stage.submit, staged))
    assert all(1 <= len(batch) <= max_items for batch in batches.batches)
    assert sorted(batches.items) == list(range(sum(calls)))


def test_a_lone_item_is_not_kept_waiting_for_company() -> None:
    """One item is a batch when nothing else is staged."""
    batches = _Batches()
    with _stage(batches, max_items=100) as stage:
        stage.submit([3])
        assert batches.started.acquire(timeout=PATIENCE_S)
    assert batches.batches == [[3]]


def test_what_arrives_during_a_batch_forms_the_next() -> None:
    """All that was staged while one batch ran goes together, in the order it came."""
    batches = _Batches(held=True)
    with _stage(batches, max_items=8) as stage:
        stage.submit([0])
        assert batches.started.acquire(timeout=PATIENCE_S)
        for item in range(1, 8):
            stage.submit([item])
    assert batches.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]


def test_what_is_staged_beyond_the_limit_forms_a_third_batch() -> None:
    """A batch is full at `max_items`; the rest is not lost but next."""
    batches = _Batches(held=True)
    with _stage(batches, max_items=3) as stage:
        stage.submit([0])
        assert batches.started.acquire(timeout=PATIENCE_S)
        stage.submit(range(1, 6))
    assert batches.batches == [[0], [1, 2, 3], [4, 5]]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_closing_finishes_what_is_staged(n_threads: int) -> None:
    """When `close` returns, everything that was handed in before it is done."""
    batches = _Batches(held=True)
    stage = Stage(batches, max_items=2, name="test", threads=n_threads)
    stage.submit(range(7))
    closing = threading.Thread(target=stage.close)
    closing.start()
    batches.go_on.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert sorted(batches.items) == list(range(7))


def _running(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_closing_an_idle_stage_ends_its_threads(n_threads: int) -> None:
    """Nothing is left running once a stage is closed."""
    name = "captionguard-test-stage"
    stage = Stage(_Batches(), max_items=2, name=name, threads=n_threads)
    assert len(_running(name)) == n_threads
    stage.close()
    assert _running(name) == []


def test_items_staged_together_are_shared_out_in_order() -> None:
    """A stage that gets many at once loses none and mixes none up, whatever the limits."""
    batches = _Batches()
    with _stage(batches, max_items=3, max_staged=4) as stage:
        stage.submit(range(10))
        stage.submit([])
        stage.submit([10])
    assert batches.items == list(range(11))
    assert all(1 <= len(batch) <= 3 for batch in batches.batches)


def test_a_closed_stage_says_so() -> None:
    """Nothing can be staged where nobody would ever take it up."""
    stage = Stage(_Batches(), max_items=1, name="test")
    stage.close()
    with pytest.raises(RuntimeError, match="closed"):
        stage.submit([1])


def test_no_thread_is_idle_while_something_is_staged() -> None:
    """Items that arrive together are shared out, so that all threads compute at once."""
    n_threads = 3
    together = threading.Barrier(n_threads)
    batches: list[list[int]] = []

    def process(items: Sequence[int]) -> None:
        batches.append(list(items))
        # Each waits until all are here: one that took everything would wait in vain.
        together.wait(PATIENCE_S)

    stage = Stage(process, max_items=100, name="test", threads=n_threads)
    stage.submit(range(n_threads))
    stage.close()
    assert sorted(batches) == [[0], [1], [2]]
    assert not together.broken


def test_a_thread_takes_its_share_of_what_is_staged() -> None:
    """With two threads busy, the first that is free takes half of what has come since."""
    release = {item: threading.Event() for item in (0, 1)}
    started = threading.Semaphore(0)
    batches: list[list[int]] = []

    def process(items: Sequence[int]) -> None:
        batches.append(list(items))
        started.release()
        for item in items:
            if item in release:
                assert release[item].wait(PATIENCE_S)

    stage = Stage(process, max_items=100, name="test", threads=2)
    for item in release:
        stage.submit([item])
        assert started.acquire(timeout=PATIENCE_S)
    stage.submit(range(2, 12))
    release[0].set()
    # By itself it takes half of what is left each time: five, three, one and one.
    for _ in range(4):
        assert started.acquire(timeout=PATIENCE_S)
    release[1].set()
    stage.close()
    assert batches[:3] == [[0], [1], [2, 3, 4, 5, 6]]
    assert [item for batch in batches for item in batch] == list(range(12))


@pytest.mark.parametrize(
    ("n_threads", "max_items", "max_staged"), [(1, 2, 3), (3, 2, 5), (2, 1, 1)]
)
def test_who_stages_too_much_waits(n_threads: int, max_items: int, max_staged: int) -> None:
    """While the threads are held, no more is taken in than was allowed; then all is done."""
    batches = _Batches(held=True)
    staged: list[int] = []
    most = n_threads * max_items + max_staged

    def submit_all(stage: Stage[int]) -> None:
        for item in range(4 * most):
            stage.submit([item])
            staged.append(item)

    with _stage(batches, max_items=max_items, max_staged=max_staged, threads=n_threads) as stage:
        submitting = threading.Thread(target=submit_all, args=(stage,))
        submitting.start()
        eventually(lambda: is_waiting_for_room(submitting) or not submitting.is_alive())
        assert submitting.is_alive(), "everything was taken in at once"
        assert len(batches.items) <= n_threads * max_items
        assert max_staged <= len(staged) <= most
        batches.go_on.set()
        submitting.join(PATIENCE_S)
    assert sorted(batches.items) == list(range(4 * most))


def test_who_waits_for_room_is_told_of_the_end() -> None:
    """A stage that closes leaves nobody waiting: what was taken in is done, the rest refused."""
    batches = _Batches(held=True)
    stage = Stage(batches, max_items=1, name="test", max_staged=1)
    stage.submit([1])
    assert batches.started.acquire(timeout=PATIENCE_S)
    stage.submit([2])
    refused: list[Exception] = []

    def submit() -> None:
        try:
            stage.submit([3])
        except RuntimeError as error:
            refused.append(error)

    submitting = threading.Thread(target=submit)
    submitting.start()
    eventually(lambda: is_waiting_for_room(submitting))
    closing = threading.Thread(target=stage.close)
    closing.start()
    submitting.join(PATIENCE_S)
    batches.go_on.set()
    closing.join(PATIENCE_S)
    assert [str(error) for error in refused] == ["the stage is closed"]
    assert batches.items == [1, 2]


class _Large:
    """Something that takes memory."""


def test_nothing_is_kept_of_a_batch_that_is_done() -> None:
    """An idle thread does not hold the items of its last batch."""
    done = threading.Event()
    stage: Stage[_Large] = Stage(lambda items: done.set(), max_items=4, name="test")
    item = _Large()
    gone = weakref.ref(item)
    stage.submit([item])
    assert done.wait(PATIENCE_S)
    del item
    eventually(lambda: gone() is None)
    stage.close()
