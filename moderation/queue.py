"""The Redis queue: Celery messages of up to 256 submission ids, sent by name."""

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.utils.url import parse_url
from redis.client import Pipeline
from uuid_utils.compat import uuid7

from moderation.errors import ServiceUnavailable

QUEUE = "captionguard"
SCORE_TASK = "captionguard.score"
MAX_ITEMS = 256

# Above the longest time a message can take, as the broker would hand it out twice (celery 5935).
VISIBILITY_TIMEOUT_S = 3600
_TAIL_CHUNK = 100
_LOOK_AT_MOST = 10_000
# Where kombu's Redis transport keeps what consumers have taken and not acknowledged.
_UNACKED, _UNACKED_INDEX = "unacked", "unacked_index"
_MAX_ID_CHARS = 200


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


def storable_id(message_id: object) -> str:
    """A message's id as PostgreSQL can store it: senders may have put anything there."""
    message_id = str(message_id)
    if 0 < len(message_id) <= _MAX_ID_CHARS and message_id.isascii() and message_id.isprintable():
        return message_id
    return hashlib.sha256(message_id.encode(errors="replace")).hexdigest()


def sent_at(message_id: str) -> dt.datetime | None:
    """When one of our messages was sent, which its id tells; None for any other id."""
    try:
        id_ = UUID(message_id)
        if id_.version != 7:
            return None
        # RFC 9562: the first 48 bits of a UUIDv7 are Unix time in milliseconds.
        return dt.datetime.fromtimestamp((id_.int >> 80) / 1000, tz=dt.UTC)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None


def new_message_id() -> str:
    """A UUIDv7: ids of our messages order by the time they were made."""
    return str(uuid7())


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that a worker has taken; `is_packed` if it holds ids of stored submissions."""

    tag: str
    message_id: str
    is_packed: bool


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

        Messages that platforms sent directly have other ids and are passed over. Behind
        very many of them nothing of ours is looked for: then all of ours may still wait.
        """
        for end in range(-1, -_LOOK_AT_MOST, -_TAIL_CHUNK):
            chunk = self.redis.lrange(QUEUE, end - _TAIL_CHUNK + 1, end)
            for raw in reversed(chunk):
                sent = sent_at(_id_of(raw))
                if sent is not None:
                    return sent
            if len(chunk) < _TAIL_CHUNK:
                return None
        return dt.datetime.fromtimestamp(0, tz=dt.UTC)

    def taken(self) -> list[Taken]:
        """The messages that some worker has taken and not finished, living or dead."""
        return [
            found
            for tag, raw in self.redis.hscan_iter(_UNACKED)
            if (found := _taken(tag.decode(), raw)) is not None
        ]

    def put_back(self, message: Taken) -> None:
        """Make a taken message the next one to be taken; nothing if it was finished by now."""

        def move(pipe: Pipeline) -> None:
            raw = pipe.hget(_UNACKED, message.tag)
            pipe.multi()
            self._forget(pipe, message)
            if raw is not None:
                pipe.rpush(QUEUE, json.dumps(json.loads(raw)[0]))

        self.redis.transaction(move, _UNACKED)

    def drop(self, message: Taken) -> None:
        """Forget a taken message whose submissions are sent again in other messages."""
        with self.redis.pipeline() as pipe:
            self._forget(pipe, message)
            pipe.execute()

    def _forget(self, pipe: Pipeline, message: Taken) -> None:
        pipe.hdel(_UNACKED, message.tag)
        pipe.zrem(_UNACKED_INDEX, message.tag)

    def ping(self) -> None:
        """Raise `redis.RedisError` when Redis does not answer."""
        self.redis.ping()


def _id_of(raw: bytes | str) -> str:
    """The id in a message's envelope; empty for whatever else is in the queue."""
    try:
        return str(json.loads(raw)["headers"]["id"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""


def packed_ids(document: Any) -> list[UUID] | None:
    """The ids in one of our own messages, or None for any other document."""
    if not isinstance(document, dict) or set(document) != {"ids"}:
        return None
    try:
        ids = [UUID(id_) for id_ in document["ids"]]
    except (TypeError, ValueError, AttributeError):
        return None
    return ids if len(ids) <= MAX_ITEMS else None


def _taken(tag: str, raw: bytes | str) -> Taken | None:
    """Read an entry of kombu's hash; None for other queues on this Redis and for garbage."""
    try:
        envelope, _, routing_key = json.loads(raw)
        if routing_key != QUEUE:
            return None
        arguments = json.loads(base64.b64decode(envelope["body"]))[0]
        is_packed = len(arguments) == 1 and packed_ids(arguments[0]) is not None
        return Taken(tag, storable_id(str(envelope["headers"]["id"])), is_packed)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError):
        return None


def connect(redis_url: str) -> QueueClient:
    """A client whose waits are bounded, so that a dead Redis is noticed."""
    try:
        if not redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("unknown scheme")
        parse_url(broker_url(redis_url))
        client = redis.Redis.from_url(
            redis_url, socket_timeout=10, socket_connect_timeout=3, health_check_interval=30
        )
    except ValueError:
        # Without its cause, which would show a part of the password.
        raise ServiceUnavailable(
            "CAPTIONGUARD_REDIS_URL must look like redis://:password@host:6379/0; signs such as / "
            "and @ in a password are written as %2F and %40."
        ) from None
    return QueueClient(celery_app(redis_url), client)
