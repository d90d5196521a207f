"""Batches form by themselves, and every item gets its own result."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.batching import Batcher, Stage
from tests.conftest import eventually
from tests.unit.threads import PATIENCE_S, is_waiting_for_room


class _Squares:
    """Squares numbers; the first batch stays under way until `go_on` is set."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        if not held:
            self.go_on.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        assert self.go_on.wait(PATIENCE_S)
        if any(item < 0 for item in items):
            raise ArithmeticError("a negative number")
        return [item * item for item in items]


@contextmanager
def _batcher(
    process: _Squares, *, max_items: int, max_staged: int | None = None, threads: int = 1
) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(
        process, max_items=max_items, name="test", max_staged=max_staged, threads=threads
    )
    try:
        yield batcher
    finally:
        process.go_on.set()
        batcher.close()


@settings(max_examples=40)
@given(
    n_items=st.integers(0, 60),
    max_items=st.integers(1, 9),
    max_staged=st.none() | st.integers(1, 5),
    n_callers=st.integers(1, 8),
    n_threads=st.integers(1, 4),
)
def test_every_item_gets_its_own_result(
    n_items: int, max_items: int, max_staged: int | None, n_callers: int, n_threads: int
) -> None:
    """However many threads hand in and take up, each item gets its square, once, in small batches.

    None is lost and none is computed twice.
    """
    squares = _Squares()
    with (
        _batcher(squares, max_items=max_items, max_staged=max_staged, threads=n_threads) as batcher,
        ThreadPoolExecutor(n_callers) as threads,
    ):
        futures = list(threads.map(batcher.submit, range(n_items)))
        results = [future.result(PATIENCE_S) for future in futures]
    assert results == [item * item for item in range(n_items)]
    assert all(1 <= len(batch) <= max_items for batch in squares.batches)
    assert sorted(item for batch in squares.batches for item in batch) == list(range(n_items))


def test_a_lone_item_is_not_kept_waiting_for_company() -> None:
    """One item is a batch when nothing else is staged."""
    squares = _Squares()
    with _batcher(squares, max_items=100) as batcher:
        assert batcher.submit(3).result(PATIENCE_S) == 9


def test_what_arrives_during_a_batch_forms_the_next() -> None:
    """All that was staged while one batch ran goes together, in the order it came."""
    squares = _Squares(held=True)
    with _batcher(squares, max_items=8) as batcher:
        first = batcher.submit(0)
        assert squares.started.wait(PATIENCE_S)
        later = [batcher.submit(item) for item in range(1, 8)]
        squares.go_on.set()
        assert [future.result(PATIENCE_S) for future in (first, *later)] == [
            item * item for item in range(8)
        ]
    assert squares.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]


def test_what_is_staged_beyond_the_limit_forms_a_third_batch() -> None:
    """A batch is full at `max_items`; the rest is not lost but next."""
    squares = _Squares(held=True)
    with _batcher(squares, max_items=3) as batcher:
        batcher.submit(0)
        assert squares.started.wait(PATIENCE_S)
        later = [batcher.submit(item) for item in range(1, 6)]
        squares.go_on.set()
        assert later[-1].result(PATIENCE_S) == 25
    assert squares.batches == [[0], [1, 2, 3], [4, 5]]


def test_a_fault_reaches_all_of_its_batch_and_no_other() -> None:
    """An exception is the result of each item that shared the batch; the next one works."""
    squares = _Squares(held=True)
    with _batcher(squares, max_items=3) as batcher:
        before = batcher.submit(2)
        assert squares.started.wait(PATIENCE_S)
        failing = [batcher.submit(item) for item in (4, -1, 5)]
        squares.go_on.set()
        for future in failing:
            with pytest.raises(ArithmeticError, match="a negative number"):
                future.result(PATIENCE_S)
        assert before.result(PATIENCE_S) == 4
        assert batcher.submit(6).result(PATIENCE_S) == 36


@pytest.mark.parametrize("n_threads", [1, 3])
def test_closing_finishes_what_is_staged(n_threads: int) -> None:
    """When `close` returns, everything that was handed in before it has its result."""
    squares = _Squares(held=True)
    batcher = Batcher(squares, max_items=2, name="test", threads=n_threads)
    futures = [batcher.submit(item) for item in range(7)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    squares.go_on.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [future.result(0) for future in futures] == [item * item for item in range(7)]


def _running(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_closing_an_idle_batcher_ends_its_threads(n_threads: int) -> None:
    """Nothing is left running once a batcher is closed."""
    name = "captionguard-test-batcher"
    batcher = Batcher(_Squares(), max_items=2, name=name, threads=n_threads)
    assert len(_running(name)) == n_threads
    batcher.close()
    assert _running(name) == []


def test_items_staged_together_are_shared_out_in_order() -> None:
    """A stage that gets many at once loses none and mixes none up, whatever the limits."""
    batches: list[list[int]] = []
    stage: Stage[int] = Stage(batches.append, max_items=3, name="test", max_staged=4)
    stage.submit(range(10))
    stage.submit([])
    stage.submit([10])
    stage.close()
    assert [item for batch in batches for item in batch] == list(range(11))
    assert all(1 <= len(batch) <= 3 for batch in batches)
    with pytest.raises(RuntimeError, match="closed"):
        stage.submit([11])


def test_a_cancelled_item_harms_nobody() -> None:
    """An item whose caller gave up is left out, and the others get their results."""
    squares = _Squares(held=True)
    batcher = Batcher(squares, max_items=4, name="test")
    first = batcher.submit(1)
    assert squares.started.wait(PATIENCE_S)
    given_up, kept = batcher.submit(2), batcher.submit(3)
    assert given_up.cancel()
    squares.go_on.set()
    assert (first.result(PATIENCE_S), kept.result(PATIENCE_S)) == (1, 9)
    batcher.close()
    assert squares.batches == [[1], [3]]


def test_too_few_results_are_an_error_and_not_a_hang() -> None:
    """A process that loses a result fails its batch, and the next batch works."""
    answers = [[], [7]]
    batcher: Batcher[int, int] = Batcher(lambda _: answers.pop(0), max_items=1, name="test")
    with pytest.raises(RuntimeError, match="0 results for a batch of 1"):
        batcher.submit(1).result(PATIENCE_S)
    assert batcher.submit(2).result(PATIENCE_S) == 7
    batcher.close()


def test_a_closed_batcher_says_so() -> None:
    """Nothing can be staged where nobody would ever take it up."""
    batcher = Batcher(_Squares(), max_items=1, name="test")
    batcher.close()
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(1)


def test_no_thread_is_idle_while_something_is_staged() -> None:
    """Items that arrive together are shared out, so that all threads compute at once."""
    n_threads = 3
    together = threading.Barrier(n_threads)
    batches: list[list[int]] = []

    def process(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        # Each waits until all are here: one that took everything would wait in vain.
        together.wait(PATIENCE_S)
        return list(items)

    batcher = Batcher(process, max_items=100, name="test", threads=n_threads)
    futures = [batcher.submit(item) for item in range(n_threads)]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(n_threads))
    batcher.close()
    assert sorted(map(len, batches)) == [1] * n_threads


def test_a_thread_takes_its_share_of_what_is_staged() -> None:
    """With two threads busy, the first that is free takes half of what has come since."""
    release = {item: threading.Event() for item in (0, 1)}
    started = threading.Semaphore(0)
    batches: list[list[int]] = []

    def process(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        started.release()
        for item in items:
            if item in release:
                assert release[item].wait(PATIENCE_S)
        return list(items)

    batcher = Batcher(process, max_items=100, name="test", threads=2)
    futures = []
    for item in release:
        futures.append(batcher.submit(item))
        assert started.acquire(timeout=PATIENCE_S)
    futures += [batcher.submit(item) for item in range(2, 12)]
    release[0].set()
    assert futures[-1].result(PATIENCE_S) == 11
    release[1].set()
    batcher.close()
    assert batches[:3] == [[0], [1], [2, 3, 4, 5, 6]]
    assert [item for batch in batches for item in batch] == list(range(12))


@pytest.mark.parametrize(
    ("n_threads", "max_items", "max_staged"), [(1, 2, 3), (3, 2, 5), (2, 1, 1)]
)
def test_who_stages_too_much_waits(n_threads: int, max_items: int, max_staged: int) -> None:
    """While the threads are held, no more is taken in than was allowed; then all is done."""
    squares = _Squares(held=True)
    staged: list[Future[int]] = []
    most = n_threads * max_items + max_staged

    def submit_all(batcher: Batcher[int, int]) -> None:
        for item in range(4 * most):
            staged.append(batcher.submit(item))  # noqa: PERF401 - seen while it grows

    with _batcher(
        squares, max_items=max_items, max_staged=max_staged, threads=n_threads
    ) as batcher:
        submitting = threading.Thread(target=submit_all, args=(batcher,))
        submitting.start()
        eventually(lambda: is_waiting_for_room(submitting) or not submitting.is_alive())
        assert submitting.is_alive(), "everything was taken in at once"
        assert sum(map(len, squares.batches)) <= n_threads * max_items
        assert max_staged <= len(staged) <= most
        squares.go_on.set()
        submitting.join(PATIENCE_S)
        assert [future.result(PATIENCE_S) for future in staged] == [n * n for n in range(4 * most)]


def test_who_waits_for_room_is_told_of_the_end() -> None:
    """A batcher that closes leaves nobody waiting: what was taken in is done, the rest refused."""
    squares = _Squares(held=True)
    batcher = Batcher(squares, max_items=1, name="test", max_staged=1)
    kept = [batcher.submit(1)]
    assert squares.started.wait(PATIENCE_S)
    kept.append(batcher.submit(2))
    refused: list[Exception] = []

    def submit() -> None:
        try:
            batcher.submit(3)
        except RuntimeError as error:
            refused.append(error)

    submitting = threading.Thread(target=submit)
    submitting.start()
    eventually(lambda: is_waiting_for_room(submitting))
    closing = threading.Thread(target=batcher.close)
    closing.start()
    submitting.join(PATIENCE_S)
    squares.go_on.set()
    closing.join(PATIENCE_S)
    assert [str(error) for error in refused] == ["the batcher is closed"]
    assert [future.result(0) for future in kept] == [1, 4]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_fault_ends_no_thread(n_threads: int) -> None:
    """After more faults than there are threads, items are worked off as before."""
    squares = _Squares()
    with _batcher(squares, max_items=1, threads=n_threads) as batcher:
        for _ in range(2 * n_threads):
            with pytest.raises(ArithmeticError):
                batcher.submit(-1).result(PATIENCE_S)
        futures = [batcher.submit(item) for item in range(10)]
        assert [future.result(PATIENCE_S) for future in futures] == [n * n for n in range(10)]


class _Large:
    """Something that takes memory."""


def test_nothing_is_kept_of_a_batch_that_is_done() -> None:
    """An idle thread holds neither the items nor the results of its last batch."""
    batcher: Batcher[_Large, _Large] = Batcher(
        lambda items: [_Large() for _ in items], max_items=4, name="test"
    )
    item = _Large()
    future = batcher.submit(item)
    gone = [weakref.ref(item), weakref.ref(future.result(PATIENCE_S))]
    del item, future
    eventually(lambda: all(reference() is None for reference in gone))
    batcher.close()
