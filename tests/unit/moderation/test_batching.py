"""Batches form by themselves, and every item gets its own result."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.batching import Batcher

PATIENCE_S = 60


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
    process: _Squares, *, max_items: int, max_staged: int | None = None
) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(process, max_items=max_items, name="test", max_staged=max_staged)
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
    n_threads=st.integers(1, 8),
)
def test_every_item_gets_its_own_result(
    n_items: int, max_items: int, max_staged: int | None, n_threads: int
) -> None:
    """However many threads hand items in, each gets its own square, once, in small batches."""
    squares = _Squares()
    with (
        _batcher(squares, max_items=max_items, max_staged=max_staged) as batcher,
        ThreadPoolExecutor(n_threads) as threads,
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


def test_closing_finishes_what_is_staged() -> None:
    """When `close` returns, everything that was handed in before it has its result."""
    squares = _Squares(held=True)
    batcher = Batcher(squares, max_items=2, name="test")
    futures = [batcher.submit(item) for item in range(7)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    squares.go_on.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [future.result(0) for future in futures] == [item * item for item in range(7)]


def test_closing_an_idle_batcher_ends_its_thread() -> None:
    """Nothing is left running once a batcher is closed."""
    batcher = Batcher(_Squares(), max_items=2, name="captionguard-test-batcher")
    batcher.close()
    assert "captionguard-test-batcher" not in {thread.name for thread in threading.enumerate()}


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
