"""What all kinds of decoder processes share: hello, requests, and answers in shared memory.

Loaded by children only, and so by nothing that loads much.
"""

import json
import mmap
import os
import signal
import struct
import sys

# Not `socket`, which loads much that an intruder could use.
from _socket import AF_UNIX, CMSG_SPACE, SOCK_STREAM, socket
from typing import NamedTuple

from moderation.media.sandbox import SandboxReport
from moderation.media.wire import ANSWER, COUNT, MAX_DETAIL_BYTES, REQUEST, TURN, Status

_PARENT = 0  # the file descriptor of standard input
_SHARED = 1  # the one of standard output
_INT_BYTES = 4
_NO_TURN = 0
NO_SIZE = (0, 0)


class File(NamedTuple):
    """An open file that the parent has handed over; `sha256` where it is to be checked."""

    descriptor: int
    size_bytes: int
    sha256: bytes | None

    def content(self) -> bytes:
        """The bytes of the file. Raises `OSError`."""
        # From its beginning: a decoder that died may have read from the same open file.
        data = os.pread(self.descriptor, self.size_bytes, 0)
        while len(data) < self.size_bytes and (
            more := os.pread(self.descriptor, self.size_bytes - len(data), len(data))
        ):
            data += more
        return data


def ignore_stop_signals() -> None:
    """Finish what is at work when a whole group is signalled, as Ctrl-C does.

    The parent's closing its end is what ends this process.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class Parent:
    """The way to the parent, which hands over up to `places` files a turn."""

    def __init__(self, places: int) -> None:
        self._socket = socket(AF_UNIX, SOCK_STREAM, 0, _PARENT)
        self._room = CMSG_SPACE(places * _INT_BYTES)
        self._max_bytes = TURN.size + places * REQUEST.size

    def greet(self, report: SandboxReport) -> None:
        """Say hello; from here on standard error is closed: images must not write into our logs."""
        self._say(report._asdict())
        sys.stderr.flush()
        os.close(2)
        os.close(_SHARED)  # the mapping stays

    def refuse(self, problem: str) -> None:
        """Say instead why this process cannot work here."""
        self._say({"problem": problem})

    def receive(self) -> tuple[int, list[File]] | None:
        """Take a turn's requests, which come in one piece; None when the parent has gone."""
        message, ancillary, _, _ = self._socket.recvmsg(self._max_bytes, self._room)
        if not message:
            return None
        turn, count = TURN.unpack_from(message)
        descriptors = struct.unpack(f"{count}i", ancillary[0][2])
        requests = REQUEST.iter_unpack(message[TURN.size :])
        return turn, [
            File(descriptor, size_bytes, sha256 if is_checked else None)
            for descriptor, (size_bytes, is_checked, sha256) in zip(
                descriptors, requests, strict=True
            )
        ]

    def wake(self) -> None:
        """Say that all answers of the turn are written."""
        os.write(_PARENT, b"\0")

    def _say(self, hello: dict[str, object]) -> None:
        words = json.dumps(hello).encode()
        os.write(_PARENT, COUNT.pack(len(words)) + words)


class Board:
    """The memory that is shared with the parent: `places` for pixels of so many bytes, answers.

    Make it before `Parent.greet`, which closes the file.
    """

    def __init__(self, places: int, image_bytes: int) -> None:
        self.shared = mmap.mmap(_SHARED, 0)
        self._answers_at = places * image_bytes

    def answer(
        self,
        turn: int,
        place: int,
        took_s: float,
        status: Status,
        *,
        first_frame_only: bool = False,
        size: tuple[int, int] = NO_SIZE,
        detail: bytes = b"",
    ) -> None:
        """Write an answer, when the pixels that belong to it are in their place."""
        cut = detail[:MAX_DETAIL_BYTES]
        took_us = min(int(took_s * 1e6), 2**32 - 1)
        at = self._answers_at + place * ANSWER.size
        answer = (status, first_frame_only, *size, took_us, len(cut), cut)
        ANSWER.pack_into(self.shared, at, _NO_TURN, *answer)
        # Last, since a process may be ended between any two steps.
        COUNT.pack_into(self.shared, at, turn)
