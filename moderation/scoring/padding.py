"""Few sizes of batches for a GPU, to which batches are filled up with rows that nobody reads.

A pass that is recorded once runs with the size it was recorded with. So sizes come in steps:
few enough to record them all, near enough that little is computed for nothing.
"""

from itertools import takewhile

# A GPU is not filled by a few rows, so small steps may lie far apart; of more than 16 rows, a
# third at most is filling.
_STEPS = (1, 4, 8, 16, *(size for power in range(4, 16) for size in (3 << power - 1, 2 << power)))


def padded(count: int) -> int:
    """The smallest step that holds so many rows. Raises `ValueError` beyond the last."""
    for size in _STEPS:
        if count <= size:
            return size
    raise ValueError(f"{count} rows are more than any step holds")


def largest_step(at_most: int) -> int:
    """The largest step of at most so many rows, and 1 where there is none."""
    return max(takewhile(lambda size: size <= at_most, _STEPS), default=1)


def spans(count: int, rows: int) -> list[tuple[int, int]]:
    """Where each part of at most `rows` starts, and how many it has, in order."""
    return [(start, min(rows, count - start)) for start in range(0, count, rows)]
