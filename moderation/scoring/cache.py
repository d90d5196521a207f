"""Embeddings that were computed before, by what they were computed from and with."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from moderation.types import Note

Kind = Literal["image", "text"]
Source = Literal["computed", "in_flight", "memory", "redis"]

# What Python needs for an entry besides its vector; measured, rounded up.
_ENTRY_BYTES = 600


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector, float32 (embedding,), and what was noted while it was made."""

    vector: NDArray[np.float32]
    notes: tuple[Note, ...] = ()


# A tuple, since each pair looks its keys up several times: Python has to hash a dataclass.
class Key(NamedTuple):
    """What an embedding was made of: an image file or a caption, by its SHA-256."""

    kind: Kind
    sha256: str


class Shared(Protocol):
    """Where several workers keep embeddings of one model; it may lose them, and never raises."""

    def get(self, key: Key) -> Embedding | None:
        """The embedding, or None where there is none that can be read."""

    def put(self, computed: Sequence[tuple[Key, Embedding]]) -> None:
        """Store a batch."""

    def close(self) -> None:
        """Give connections back."""


class EmbeddingCache:
    """The most recently used embeddings of one model, at most `max_bytes` of them in memory.

    With `shared`, what is not in memory is looked for there. Threads may share one.
    """

    def __init__(self, *, max_bytes: int, shared: Shared | None = None) -> None:
        self._max_bytes = max_bytes
        self._shared = shared
        self._bytes = 0
        self._entries: OrderedDict[Key, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """How much memory the entries take, about."""
        return self._bytes

    @property
    def is_shared(self) -> bool:
        """Whether what is not in memory may be found elsewhere."""
        return self._shared is not None

    def get(self, key: Key) -> Embedding | None:
        """Look in memory only: this is quick."""
        return self.find([key])[0]

    def find(self, keys: Sequence[Key]) -> list[Embedding | None]:
        """The same for many at once."""
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for key, embedding in zip(keys, found, strict=True):
                if embedding is not None:
                    self._entries.move_to_end(key)
            return found

    def fetch(self, key: Key) -> Embedding | None:
        """Look in the shared cache, and remember what is there."""
        found = self._shared.get(key) if self._shared else None
        if found is not None:
            self._remember([(key, found)])
        return found

    def put(self, computed: Sequence[tuple[Key, Embedding]]) -> None:
        """Remember a batch; what was used least recently makes room."""
        self._remember(computed)
        if self._shared:
            self._shared.put(computed)

    def close(self) -> None:
        """Give the shared cache's connections back."""
        if self._shared:
            self._shared.close()

    def _remember(self, computed: Sequence[tuple[Key, Embedding]]) -> None:
        with self._lock:
            for key, embedding in computed:
                size = _ENTRY_BYTES + embedding.vector.nbytes
                if size > self._max_bytes:
                    continue
                if key in self._entries:
                    self._entries.move_to_end(key)
                else:
                    self._bytes += size
                self._entries[key] = embedding
                while self._bytes > self._max_bytes:
                    _, dropped = self._entries.popitem(last=False)
                    self._bytes -= _ENTRY_BYTES + dropped.vector.nbytes
