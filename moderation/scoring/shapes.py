"""Few sizes of batches, since a CPU's kernels are compiled anew for each that they first meet.

A size never seen before costs ViT-B-32 about 0.1 s, as much as six images. So a batch is worked
off in parts of these sizes, and only a remainder has a size of its own; nothing is padded.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Larger ones are no faster: with packed weights 16 cost as much each as 64.
_SIZES = (32, 24, 16, 8)


def parts(items: Sequence[T]) -> list[Sequence[T]]:
    """The items in order, in parts of static sizes."""
    found = []
    start = 0
    while left := len(items) - start:
        size = next((size for size in _SIZES if size <= left), left)
        found.append(items[start : start + size])
        start += size
    return found
