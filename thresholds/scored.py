"""Cosines that were computed before, kept in a file beside the labels as they are made."""

import hashlib
import json
import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from rich.text import Text

from moderation.console import people


class KeptCosines:
    """Cosines by the content of image and caption; threads may share one. Close it after use.

    A line is written the moment its cosine is known, so that whatever ends a run costs what was
    under way. Where the file cannot be written, people are told and nothing is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known = _read(path)
        self._file: BinaryIO | None = None
        self._file = self._open()

    @classmethod
    def beside(cls, labels: Path, *, fingerprint: str, precision: str) -> "KeptCosines":
        """Those of one file of labels, and of one model in one precision: others differ."""
        return cls(labels.with_name(f"{labels.name}.{fingerprint}.{precision}.cosines.jsonl"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def is_kept(self) -> bool:
        """Whether cosines are written, and so found again."""
        return self._file is not None

    def get(self, image_sha256: str, caption: str) -> float | None:
        """The cosine of a pair, or None if it is not known."""
        return self._known.get((image_sha256, _hash(caption)))

    def add(self, image_sha256: str, caption: str, cosine: float) -> None:
        """Keep a cosine."""
        name = _hash(caption)
        line = {"image_sha256": image_sha256, "caption_sha256": name, "cosine": cosine}
        with self._lock:
            if (image_sha256, name) in self._known:
                return
            self._known[image_sha256, name] = cosine
            if self._file is None:
                return
            try:
                self._file.write(f"{json.dumps(line)}\n".encode())
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> BinaryIO | None:
        try:
            # Unbuffered: a line that was written is there, whatever becomes of this process.
            file = self.path.open("ab", buffering=0)
            if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                # What was written when a run was killed stays a line of its own, which is torn.
                file.write(b"\n")
        except OSError as error:
            self._give_up(error)
            return None
        return file

    def _give_up(self, error: OSError) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        people.print(
            Text(
                f"{self.path.name} cannot be written ({error.strerror}): cosines are not kept, and "
                "a run that is stopped begins anew."
            )
        )


def _read(path: Path) -> dict[tuple[str, str], float]:
    """What is kept in a file; lines that are torn or of something else are passed over."""
    known: dict[tuple[str, str], float] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return known
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            document = json.loads(line)
            cosine = float(document["cosine"])
            if math.isfinite(cosine) and abs(cosine) <= 1:
                known[str(document["image_sha256"]), str(document["caption_sha256"])] = cosine
    return known


def _hash(caption: str) -> str:
    return hashlib.sha256(caption.encode()).hexdigest()
