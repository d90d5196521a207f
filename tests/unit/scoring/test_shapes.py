"""Batches are worked off in few sizes, and nothing of them is lost, doubled or moved."""

from hypothesis import given
from hypothesis import strategies as st

from moderation.scoring.shapes import parts


@given(st.integers(0, 300))
def test_parts_are_the_whole_in_order(count: int) -> None:
    """Put together again, the parts are what was split."""
    assert [item for part in parts(range(count)) for item in part] == list(range(count))


def test_few_sizes_occur() -> None:
    """However many sizes batches have, kernels meet less than a dozen."""
    sizes = {len(part) for count in range(1, 500) for part in parts(range(count))}
    assert len(sizes) <= 11
    assert max(sizes) == 32
