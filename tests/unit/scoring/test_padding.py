"""Batches are filled up to few sizes, and split without losing, doubling or moving a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.scoring.padding import largest_step, padded, spans


@given(st.integers(1, 5000))
def test_a_step_holds_the_rows_and_little_else(count: int) -> None:
    """What fills up is less than three times a few rows, and of more than 16 a third at most."""
    size = padded(count)
    assert count <= size
    assert size < 3 * count
    if count > 16:
        assert 3 * (size - count) < size


@given(st.integers(1, 5000))
def test_a_step_is_filled_by_itself(count: int) -> None:
    """What is as large as a step is not filled up, so a buffer of a step has room for any rows."""
    assert padded(padded(count)) == padded(count)
    assert largest_step(padded(count)) == padded(count)


@given(st.integers(1, 5000))
def test_the_largest_step_fits(at_most: int) -> None:
    """It holds no more than is allowed, and one row more would not be held."""
    step = largest_step(at_most)
    assert step <= at_most
    assert padded(step) == step
    assert padded(step + 1) > at_most


def test_few_steps_occur() -> None:
    """However many sizes batches up to 256 have, a dozen are recorded."""
    assert len({padded(count) for count in range(1, 257)}) == 12


def test_more_than_any_step_is_an_error() -> None:
    """It is refused and not cut off."""
    with pytest.raises(ValueError, match="more than any step"):
        padded(1_000_000)


def test_not_even_one_row_fits() -> None:
    """A buffer has room for one row, however large it is."""
    assert largest_step(0) == 1


@given(count=st.integers(0, 1000), rows=st.integers(1, 300))
def test_spans_are_the_whole_in_order(count: int, rows: int) -> None:
    """Put together again, the parts are what was split, and none is empty or too large."""
    found = spans(count, rows)
    assert [row for start, size in found for row in range(start, start + size)] == list(
        range(count)
    )
    assert all(1 <= size <= rows for _, size in found)
