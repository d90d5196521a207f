"""The Redis queue: Celery messages of up to 256 submission ids, sent by name."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from uuid_utils.compat import uuid7

from moderation.errors import ServiceUnavailable

QUEUE = "captionguard"
SCORE_TASK = "captionguard.score"
MAX_ITEMS = 256

# Above the longest time a message can take, as the broker would hand it out twice (celery 5935).
VISIBILITY_TIMEOUT_S = 3600
_TAIL_CHUNK = 64


def celery_app(redis_url: str) -> Celery:
    """A Celery app with what senders and workers have to agree on."""
    app = Celery("captionguard", broker=broker_url(redis_url))
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=QUEUE,
        broker_connection_timeout=3,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
        },
        # Nobody asked for events, and remote control would let any Redis client stop workers.
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


def broker_url(redis_url: str) -> str:
    """Celery's spelling of a Redis URL: it knows sockets under another scheme."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def new_message_id() -> str:
    """A UUIDv7: ids of our messages order by the time they were made."""
    return str(uuid7())


@dataclass(frozen=True, slots=True)
class QueueClient:
    """Sends packed messages and looks at what waits."""

    app: Celery
    redis: "redis.Redis"

    def send(self, ids: Sequence[UUID], *, message_id: str) -> None:
        """Send one message for up to 256 submissions whose rows are committed.

        Raises `ServiceUnavailable`; the rows are then sent again by the reconciler.
        """
        try:
            self.app.send_task(
                SCORE_TASK,
                args=[{"ids": [str(id_) for id_ in ids]}],
                task_id=message_id,
                queue=QUEUE,
                retry=False,
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise ServiceUnavailable(
                "Redis does not answer; check CAPTIONGUARD_REDIS_URL and that the server runs."
            ) from error

    def depth_messages(self) -> int:
        """How many messages wait."""
        return int(self.redis.llen(QUEUE))

    def oldest_waiting_since(self) -> dt.datetime | None:
        """When the oldest of our waiting messages was sent, or None if none of ours waits.

        Messages that platforms sent directly have other ids and are passed over.
        """
        start = -1
        while True:
            chunk = self.redis.lrange(QUEUE, start - _TAIL_CHUNK + 1, start)
            for raw in reversed(chunk):
                sent = _sent_at(raw)
                if sent is not None:
                    return sent
            if len(chunk) < _TAIL_CHUNK:
                return None
            start -= _TAIL_CHUNK

    def ping(self) -> None:
        """Raise `redis.RedisError` when Redis does not answer."""
        self.redis.ping()


def _sent_at(raw: bytes | str) -> dt.datetime | None:
    """When one of our messages was sent; None for whatever else is in the queue."""
    try:
        id_ = UUID(json.loads(raw)["headers"]["id"])
        if id_.version != 7:
            return None
        # RFC 9562: the first 48 bits of a UUIDv7 are Unix time in milliseconds.
        return dt.datetime.fromtimestamp((id_.int >> 80) / 1000, tz=dt.UTC)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def connect(redis_url: str) -> QueueClient:
    """A client whose waits are bounded, so that a dead Redis is noticed."""
    try:
        client = redis.Redis.from_url(
            redis_url, socket_timeout=10, socket_connect_timeout=3, health_check_interval=30
        )
    except ValueError as error:
        raise ServiceUnavailable(
            "CAPTIONGUARD_REDIS_URL must look like redis://:password@host:6379/0."
        ) from error
    return QueueClient(celery_app(redis_url), client)
