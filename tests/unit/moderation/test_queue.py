"""Ids and envelopes of messages, whatever senders put into them."""

import datetime as dt
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import ServiceUnavailable
from moderation.queue import MAX_ITEMS, connect, new_message_id, packed_ids, sent_at, storable_id


def test_our_ids_tell_when_they_were_made() -> None:
    """The time in an id is the time it was made at, and later ids do not sort before."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    first, second = new_message_id(), new_message_id()
    told = sent_at(first)
    assert told is not None
    assert before < told < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    assert first < second


@pytest.mark.parametrize(
    "other",
    [
        "",
        "x",
        "3f2b8a1e-5c47-4d0a-9b1e-6c7d8e9fa0b1",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "\ud800",
        "7" * 40,
    ],
)
def test_other_ids_tell_no_time(other: str) -> None:
    """Ids of platforms, impossible years and garbage have no time."""
    assert sent_at(other) is None


@given(st.one_of(st.text(), st.integers(), st.none()))
def test_any_id_can_be_stored(anything: object) -> None:
    """Whatever a sender takes for an id becomes a text that PostgreSQL takes, always the same."""
    stored = storable_id(anything)
    assert stored.encode()
    assert "\x00" not in stored
    assert len(stored) <= 200
    assert storable_id(anything) == stored == storable_id(stored)


@given(st.lists(st.uuids(), max_size=5))
def test_ids_of_packed_messages_are_read(ids: list[object]) -> None:
    """Our own messages hold ids and nothing else."""
    assert packed_ids({"ids": [str(id_) for id_ in ids]}) == ids


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"ids": 5},
        {"ids": ["x"]},
        {"ids": [], "more": 1},
        {"ids": [str(uuid4())] * (MAX_ITEMS + 1)},
    ],
)
def test_other_documents_are_no_packed_messages(document: object) -> None:
    """Anything else is a platform's document, to be read or refused as such."""
    assert packed_ids(document) is None


@pytest.mark.parametrize("url", ["http://host", "redis://host:port/0", "host:6379", ""])
def test_a_wrong_address_shows_no_password(url: str) -> None:
    """A Redis URL that cannot be read is refused with how to write it."""
    with pytest.raises(ServiceUnavailable, match="CAPTIONGUARD_REDIS_URL"):
        connect(url)
