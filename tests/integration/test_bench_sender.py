"""The sender of a load: each message is moved to the workers by one write, answers unread."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from uuid_utils.compat import uuid7

from moderation.errors import ServiceUnavailable
from moderation.queue import QUEUE, QueueClient
from moderation.wiring import Services
from workers.bench.pipeline import Message, ready


def _rig(services: Services, **options: Any) -> Any:
    """A rig of which there is only the queue."""
    known = services.queue.redis.connection_pool.connection_kwargs
    pool = services.queue.redis.connection_pool
    client = redis.Redis(
        connection_pool=redis.ConnectionPool(pool.connection_class, **(known | options))
    )
    return SimpleNamespace(queue=QueueClient(services.queue.app, client))


def _messages(count: int) -> list[Message]:
    return [Message(str(uuid7()), (uuid7(),)) for _ in range(count)]


def test_messages_go_one_by_one_in_order(services: Services) -> None:
    """Each call sends the next one, and when all is over each of them is there."""
    rig = _rig(services)
    messages = _messages(3)
    with ready(rig, messages) as send_next:
        assert rig.queue.depth_messages() == 0
        for _ in messages:
            send_next()
    waiting = rig.queue.redis.lrange(QUEUE, 0, -1)
    # Workers take from the right.
    for message, raw in zip(messages, reversed(waiting), strict=True):
        assert message.id.encode() in raw
    assert rig.queue.depth_messages() == 3


def test_a_load_may_last_longer_than_a_connection_is_taken_for_sound(services: Services) -> None:
    """Its health is not looked at, since nothing would be answered."""
    rig = _rig(services, health_check_interval=0.2, socket_timeout=1)
    with ready(rig, _messages(1)) as send_next:
        time.sleep(0.4)
        send_next()
    assert rig.queue.depth_messages() == 1


def test_what_redis_did_not_move_is_told(services: Services) -> None:
    """Nobody waits for verdicts of posts that no worker can get."""
    rig = _rig(services)
    with (
        pytest.raises(ServiceUnavailable, match="all but 1"),
        ready(rig, _messages(2)) as send_next,
    ):
        send_next()
