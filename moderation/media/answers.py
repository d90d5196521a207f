"""The memory into which a decoder writes its answers, and what the parent believes of them."""

import fcntl
import mmap
import os
from io import FileIO
from typing import NamedTuple

import numpy as np

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.wire import ANSWER, MAX_DETAIL_BYTES, Status
from moderation.types import Framing, Image, Note, Reason

_REASONS = {
    Status.TOO_MANY_PIXELS: Reason.IMAGE_TOO_MANY_PIXELS,
    Status.UNSUPPORTED: Reason.IMAGE_UNSUPPORTED,
    Status.CORRUPT: Reason.IMAGE_CORRUPT,
    Status.OUT_OF_MEMORY: Reason.IMAGE_DECODER_FAILED,
}
_SIZE_STAYS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_OUT_OF_MEMORY = "decoding needs more memory than a decoder process may have"


class HandedOn(TemporaryFault):
    """A file that another kind of decoder is to read; a pool sees to that itself."""


class Answer(NamedTuple):
    """What became of one image, and the seconds that the child says it took."""

    outcome: Image | Unscorable | TemporaryFault
    took_s: float


class DisbelievedError(Exception):
    """An answer that cannot be; `before` are those of the images before it."""

    def __init__(self, message: str, before: list[Answer]) -> None:
        super().__init__(message)
        self.before = before


class AnswerBoard:
    """Places for the pixels and answers of one turn, as `wire` lays them out.

    `file` is what the child gets; close it once the child has it. One that `hands_on` may
    decode a file or hand it on, and say nothing else.
    """

    def __init__(self, framing: Framing, places: int, *, hands_on: bool = False) -> None:
        shape = (places, framing.height_px * framing.width_px * 3)
        pixels_bytes = places * shape[1]
        self._framing = framing
        self._hands_on = hands_on
        self.file = _shared_file(pixels_bytes + places * ANSWER.size)
        shared = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        self._pixels = np.frombuffer(shared, np.uint8, pixels_bytes).reshape(shape)
        self._answers = memoryview(shared)[pixels_bytes:]

    def count_done(self, turn: int, count: int) -> int:
        """How many of so many images, from the first, have an answer of this turn."""
        done = 0
        while done < count and ANSWER.unpack_from(self._answers, done * ANSWER.size)[0] == turn:
            done += 1
        return done

    def read(self, turn: int, count: int, *, at_most_s: float) -> list[Answer]:
        """The first answers, none of which took longer than all together.

        Raises `DisbelievedError` at the first that cannot be.
        """
        # One copy that is looked at, since the child may write there at any time.
        written = bytes(self._answers[: count * ANSWER.size])
        answers: list[Answer] = []
        for place, fields in enumerate(ANSWER.iter_unpack(written)):
            try:
                answers.append(self._answer(turn, place, at_most_s, *fields))
            except ValueError as error:
                raise DisbelievedError(str(error), answers) from error
        return answers

    def _answer(
        self,
        asked: int,
        place: int,
        at_most_s: float,
        turn: int,
        status: int,
        first_frame_only: bool,
        height_px: int,
        width_px: int,
        took_us: int,
        detail_count: int,
        detail: bytes,
    ) -> Answer:
        if turn != asked:
            raise ValueError("an image without an answer")
        if detail_count > (0 if status == Status.DECODED else MAX_DETAIL_BYTES):
            raise ValueError("a count that does not fit")
        took_s = min(took_us / 1e6, at_most_s)
        if status == Status.DECODED:
            notes = (Note.FIRST_FRAME_ONLY,) if first_frame_only else ()
            self._check_size(height_px, width_px)
            pixels = self._pixels[place, : height_px * width_px * 3]
            # A copy, since the child will write there for the next image.
            return Answer(Image(pixels.reshape(height_px, width_px, 3).copy(), notes), took_s)
        text = _printable(detail[:detail_count].decode("utf-8", "replace"))
        if (status == Status.HANDED_ON) != self._hands_on:
            raise ValueError("an answer that this kind of decoder does not give")
        if self._hands_on:
            return Answer(HandedOn(Reason.IMAGE_DECODER_FAILED, text), took_s)
        if status == Status.UNREADABLE:
            fault = TemporaryFault(Reason.IMAGE_UNREACHABLE, f"the file cannot be read: {text}")
            return Answer(fault, took_s)
        return Answer(Unscorable(_REASONS[Status(status)], text or _OUT_OF_MEMORY), took_s)

    def _check_size(self, height_px: int, width_px: int) -> None:
        frame = (self._framing.height_px, self._framing.width_px)
        is_right = (height_px, width_px) == frame
        if self._framing.resize_mode == "within":
            is_right = 0 < height_px <= frame[0] and 0 < width_px <= frame[1]
        if not is_right:
            raise ValueError("a picture that does not fit the frame")


def _shared_file(size_bytes: int) -> FileIO:
    """Return a file in memory whose size nobody can change: a cut would kill its readers."""
    file = FileIO(os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+")
    file.truncate(size_bytes)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SIZE_STAYS)
    return file


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
