"""Embeddings in Redis, for workers that see the same images and captions."""

import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import redis
import structlog

from moderation.scoring.cache import Embedding, Key
from moderation.types import Note

log = structlog.get_logger()

# To be raised when pixels or tokens are made in another way, which changes embeddings a little.
_FORMAT = 2
_PATIENCE_S = 0.5
_SILENT_AFTER_FAULT_S = 10.0
_NOTES = tuple(Note)


@dataclass(frozen=True, slots=True)
class SharedCacheAddress:
    """Which Redis, and how long an embedding stays there."""

    url: str
    ttl_s: float


class SharedCache:
    """Embeddings of one model in a Redis that several workers share.

    `model` names weights, preprocessing and precision. Where Redis does not answer, workers do
    without it for a while: a cache may fail, a verdict may not.
    """

    def __init__(self, address: SharedCacheAddress, model: str, dimensions: int) -> None:
        self._redis = redis.Redis.from_url(
            address.url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S
        )
        self._prefix = f"captionguard:embedding:{_FORMAT}:{model}"
        self._dimensions = dimensions
        self._ttl_ms = max(1, int(address.ttl_s * 1000))
        self._silent_until_s = 0.0
        self._falling_silent = threading.Lock()

    def get(self, key: Key) -> Embedding | None:
        """The embedding, or None where there is none that can be read."""
        if time.monotonic() < self._silent_until_s:
            return None
        try:
            raw = self._redis.get(self._name(key))
        except redis.RedisError as error:
            self._fall_silent(error)
            return None
        return _unpack(raw, self._dimensions) if isinstance(raw, bytes) else None

    def put(self, computed: Sequence[tuple[Key, Embedding]]) -> None:
        """Store a batch in one round trip."""
        if time.monotonic() < self._silent_until_s:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key, embedding in computed:
                    pipe.set(self._name(key), _pack(embedding), px=self._ttl_ms)
                pipe.execute()
        except redis.RedisError as error:
            self._fall_silent(error)

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def _name(self, key: Key) -> str:
        return f"{self._prefix}:{key.kind}:{key.sha256}"

    def _fall_silent(self, error: redis.RedisError) -> None:
        with self._falling_silent:
            if time.monotonic() < self._silent_until_s:
                # Another thread met the same fault and has said so.
                return
            self._silent_until_s = time.monotonic() + _SILENT_AFTER_FAULT_S
        log.warning("shared_cache_unreachable", error=type(error).__name__)


def _pack(embedding: Embedding) -> bytes:
    """One byte with a bit for each note, then the vector in little-endian float32."""
    bits = sum(1 << _NOTES.index(note) for note in embedding.notes)
    return struct.pack("<B", bits) + embedding.vector.astype("<f4").tobytes()


def _unpack(raw: bytes, dimensions: int) -> Embedding | None:
    if len(raw) != 1 + 4 * dimensions:
        return None
    vector = np.frombuffer(raw, "<f4", offset=1).astype(np.float32)
    # numpy would warn of numbers so large that they are no embedding's.
    with np.errstate(over="ignore", invalid="ignore"):
        squared = float(vector @ vector)
    # Also false for what is not a number.
    if not abs(squared - 1) < 1e-3:
        return None
    return Embedding(vector, tuple(note for i, note in enumerate(_NOTES) if raw[0] >> i & 1))
