"""Files of images that were fetched a moment ago, until their verdict is stored."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

# Some dozens of photos: what is flagged is copied within seconds.
_MAX_BYTES = 64 * 2**20


class KeptFiles:
    """Keeps what was fetched for scoring, up to a limit, so that a case's copy is made of just it.

    Fetched again, the same URL may be gone, or show something else than what was judged.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._files: OrderedDict[UUID, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, submission_id: UUID, data: bytes) -> None:
        """Keep a file; the oldest go where there is no room."""
        with self._lock:
            self._drop(submission_id)
            self._files[submission_id] = data
            self._bytes += len(data)
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._files)))

    def drop(self, submission_ids: Iterable[UUID]) -> None:
        """Forget what no case will be opened for."""
        with self._lock:
            # Most images are on a disk, and nothing of them is here.
            for submission_id in submission_ids if self._files else ():
                self._drop(submission_id)

    def find(self, submission_id: UUID) -> bytes | None:
        """A file, which stays until it is dropped; None if it is not here or not any more."""
        with self._lock:
            return self._files.get(submission_id)

    def _drop(self, submission_id: UUID) -> None:
        self._bytes -= len(self._files.pop(submission_id, b""))
