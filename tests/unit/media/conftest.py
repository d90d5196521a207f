"""Decoders that the tests share, because starting them costs time; hosts, and who fetches there."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from moderation.media.decode import DecoderPool
from moderation.media.fetch import Fetcher
from moderation.types import Framing
from tests.unit.media.hosts import MAX_BYTES, PATIENT_S, MakeFetcher, Site

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


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve the handler's answers on a free port of this machine."""
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.05,))
        thread.start()
        yield site
        site.stopping.set()
        site.shutdown()
        thread.join()


@pytest.fixture
def make_fetcher() -> Iterator[MakeFetcher]:
    """Make fetchers with the usual limits, but for what a test changes, and close them."""
    made: list[Fetcher] = []

    def make(**changes: Any) -> Fetcher:
        usual = {"max_bytes": MAX_BYTES, "timeout_s": PATIENT_S, "max_redirects": 3}
        made.append(Fetcher(**{**usual, **changes}))
        return made[-1]

    yield make
    for fetcher in made:
        fetcher.close()


@pytest.fixture
def fetcher(make_fetcher: MakeFetcher) -> Fetcher:
    """Return a fetcher that may reach the local site."""
    return make_fetcher(allow_private=True)
