"""The cache keeps what was used last, within its bytes, whatever is put into it."""

import threading
import tracemalloc
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind
from moderation.types import Note
from tests.unit.threads import all_at_once

DIMENSIONS = 32
KINDS: tuple[Kind, ...] = ("image", "text")


def _key(number: int) -> Key:
    return Key(KINDS[number % 2], f"{number // 2:064x}")


def _embedding(number: int, dimensions: int = DIMENSIONS) -> Embedding:
    vector = np.random.default_rng(number).standard_normal(dimensions).astype(np.float32)
    notes = (Note.FIRST_FRAME_ONLY,) if number % 3 == 0 else ()
    return Embedding(vector / np.linalg.norm(vector), notes)


def _entry_bytes(dimensions: int = DIMENSIONS) -> int:
    """What one entry is said to take."""
    cache = EmbeddingCache(max_bytes=2**20)
    cache.put([(_key(0), _embedding(0, dimensions))])
    return cache.held_bytes


def test_what_was_put_is_there() -> None:
    """The same embedding with its notes; an image and a caption of one hash are two."""
    cache = EmbeddingCache(max_bytes=2**20)
    image, text = _embedding(0), _embedding(1)
    assert cache.get(Key("image", "a")) is None
    cache.put([(Key("image", "a"), image), (Key("text", "a"), text)])
    assert cache.get(Key("image", "a")) is image
    assert cache.get(Key("text", "a")) is text
    assert cache.fetch(Key("image", "a")) is None, "nothing is shared here"


def test_looking_is_using() -> None:
    """What was looked at last stays, and what was put in after it goes first."""
    cache = EmbeddingCache(max_bytes=2 * _entry_bytes())
    cache.put([(_key(0), _embedding(0)), (_key(1), _embedding(1))])
    assert cache.get(_key(0)) is not None
    cache.put([(_key(2), _embedding(2))])
    assert [cache.get(_key(number)) is not None for number in range(3)] == [True, False, True]


def test_putting_again_is_using() -> None:
    """What was computed anew stays as what was looked at does."""
    cache = EmbeddingCache(max_bytes=2 * _entry_bytes())
    cache.put([(_key(0), _embedding(0)), (_key(1), _embedding(1)), (_key(0), _embedding(0))])
    cache.put([(_key(2), _embedding(2))])
    assert [cache.get(_key(number)) is not None for number in range(3)] == [True, False, True]


def test_what_has_no_room_keeps_nothing_else_out() -> None:
    """Of a batch, what fits is there."""
    cache = EmbeddingCache(max_bytes=_entry_bytes())
    cache.put([(_key(0), _embedding(0, 10 * DIMENSIONS)), (_key(1), _embedding(1))])
    assert [cache.get(_key(number)) is not None for number in range(2)] == [False, True]


PUTS = st.tuples(st.just("put"), st.lists(st.integers(0, 6), max_size=3))
GETS = st.tuples(st.just("get"), st.lists(st.integers(0, 6), min_size=1, max_size=1))


@settings(max_examples=200)
@given(
    steps=st.lists(PUTS | GETS, max_size=40),
    max_entries=st.integers(0, 5),
    spare_bytes=st.integers(0, 100),
    dimensions=st.integers(1, 64),
)
def test_the_least_recently_used_makes_room(
    steps: list[tuple[str, list[int]]], max_entries: int, spare_bytes: int, dimensions: int
) -> None:
    """After any sequence of puts and looks, the most recently used are there, and no others."""
    entry_bytes = _entry_bytes(dimensions)
    max_bytes = max_entries * entry_bytes + spare_bytes
    cache = EmbeddingCache(max_bytes=max_bytes)
    expected: OrderedDict[int, Embedding] = OrderedDict()
    for action, numbers in steps:
        if action == "put":
            batch = [(number, _embedding(number, dimensions)) for number in numbers]
            cache.put([(_key(number), embedding) for number, embedding in batch])
            for number, embedding in batch:
                expected[number] = embedding
                expected.move_to_end(number)
                while len(expected) > max_entries:
                    expected.popitem(last=False)
        else:
            assert cache.get(_key(numbers[0])) is expected.get(numbers[0])
            if numbers[0] in expected:
                expected.move_to_end(numbers[0])
        assert cache.held_bytes == len(expected) * entry_bytes <= max_bytes
    found = {number for number in range(7) if cache.get(_key(number)) is not None}
    assert found == set(expected)


@pytest.mark.parametrize("max_bytes", [0, 1])
def test_no_room_keeps_nothing(max_bytes: int) -> None:
    """With 0 bytes, or fewer than an entry needs, nothing is kept and nothing fails."""
    cache = EmbeddingCache(max_bytes=max_bytes)
    cache.put([(_key(number), _embedding(number)) for number in range(20)])
    assert [cache.get(_key(number)) for number in range(20)] == [None] * 20
    assert cache.held_bytes == 0


@pytest.mark.parametrize("dimensions", [32, 768])
def test_memory_is_what_the_bytes_say(dimensions: int) -> None:
    """A full cache takes no more of Python's memory than it was allowed, all told."""
    max_bytes = 2_000 * _entry_bytes(dimensions)
    cache = EmbeddingCache(max_bytes=max_bytes)
    tracemalloc.start()
    try:
        for number in range(3_000):
            cache.put([(_key(number), _embedding(number, dimensions))])
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.held_bytes == max_bytes
    assert max_bytes / 2 < used_bytes <= max_bytes


def test_threads_share_a_cache() -> None:
    """Many threads put and look at once: each finds what belongs to the key, within the bytes."""
    entry_bytes = _entry_bytes()
    cache = EmbeddingCache(max_bytes=20 * entry_bytes)
    embeddings = [_embedding(number) for number in range(60)]
    over = threading.Event()

    def work(offset: int) -> None:
        for step in range(2_000):
            number = (step * (2 * offset + 1) + offset) % 60
            found = cache.get(_key(number))
            assert found is None or found is embeddings[number]
            cache.put([(_key(number), embeddings[number])])
            if cache.held_bytes > 21 * entry_bytes:
                over.set()

    assert all_at_once([partial(work, offset) for offset in range(4)]) == [None] * 4
    assert not over.is_set()
    held = [number for number in range(60) if cache.get(_key(number)) is not None]
    assert len(held) == 20
    assert cache.held_bytes == 20 * entry_bytes
