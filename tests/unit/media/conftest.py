"""Pools of decoders that the tests share, because starting children costs time."""

from collections.abc import Iterator

import pytest

from moderation.media.decode import DecoderPool
from moderation.types import Framing

MAX_PIXELS = 4_000_000


@pytest.fixture(scope="session")
def framing() -> Framing:
    """Return a small frame that shows all of every image."""
    return Framing(height_px=32, width_px=32, interpolation="bicubic", resize_mode="squash", fill=0)


@pytest.fixture(scope="session")
def pool(framing: Framing) -> Iterator[DecoderPool]:
    """Share two decoders, patient ones, since other work may load the machine."""
    with DecoderPool(2, framing, MAX_PIXELS, timeout_s=60, memory_bytes=2**30) as pool:
        yield pool
