"""One decoder process, seen from the parent, which believes nothing that it answers."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from time import monotonic

import numpy as np

from moderation.errors import SetupError, Unscorable
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import ANSWER, COUNT, MAX_DETAIL_BYTES, MAX_HELLO_BYTES, Status
from moderation.types import Framing, Image, Note, Reason

_REASONS = {
    Status.TOO_MANY_PIXELS: Reason.IMAGE_TOO_MANY_PIXELS,
    Status.UNSUPPORTED: Reason.IMAGE_UNSUPPORTED,
    Status.CORRUPT: Reason.IMAGE_CORRUPT,
    Status.OUT_OF_MEMORY: Reason.IMAGE_DECODER_FAILED,
}
# Starting takes a tenth of a second; a machine under load may take long, but not for ever.
START_TIMEOUT_S = 60.0
# A child that an image has taken over without a sign serves so many more at most; a fresh
# one costs about 0.1 s, spread over these.
_IMAGES_A_CHILD = 1000
# Nothing of our environment, which holds credentials; the loader may need to find libpython.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH",)
_OUT_OF_MEMORY = "decoding needs more memory than a decoder process may have"


class ChildFailedError(Exception):
    """A child crashed, ran out of time or broke the protocol; it has been killed."""


class DecoderProcess:
    """One decoder process as the parent sees it; used by one thread at a time.

    `report` says what protects it. Raises `SetupError` when it does not start.
    """

    def __init__(
        self, framing: Framing, max_pixels: int, timeout_s: float, memory_bytes: int
    ) -> None:
        arguments = (json.dumps(asdict(framing)), max_pixels, timeout_s, memory_bytes)
        ours, theirs = socket.socketpair()
        with theirs:
            self._socket = ours
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-I", "-m", "moderation.media.child", *map(str, arguments)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                raise SetupError(f"An image decoder process cannot be started: {error}") from error
        self._images_left = _IMAGES_A_CHILD
        try:
            self.report = self._hello(monotonic() + START_TIMEOUT_S)
        except BaseException as error:
            self.kill()
            if not isinstance(error, (OSError, ValueError, TypeError)):
                raise
            raise SetupError(
                "An image decoder process ended while starting; its own message is on "
                "standard error. It needs Pillow and this package installed."
            ) from error

    @property
    def is_spent(self) -> bool:
        """Whether it has served so many images that a fresh process should follow."""
        return self._images_left <= 0

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once and reap it."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def decode(self, data: bytes, framing: Framing, timeout_s: float) -> Image:
        """Have one image decoded. Raises `Unscorable`, or `ChildFailedError` and is dead."""
        self._images_left -= 1
        try:
            return self._ask(data, framing, monotonic() + timeout_s)
        except Unscorable:
            raise
        except TimeoutError as error:
            self.kill()
            raise ChildFailedError(f"decoding took longer than {timeout_s:g} s") from error
        except OSError as error:
            self.kill()
            raise ChildFailedError("the decoder process ended in the middle") from error
        except ValueError as error:
            self.kill()
            raise ChildFailedError(f"the decoder broke the protocol: {error}") from error
        except BaseException:
            self.kill()  # an interrupt leaves half an answer behind
            raise

    def _hello(self, deadline: float) -> SandboxReport:
        (count,) = COUNT.unpack(self._receive(COUNT.size, deadline))
        if count > MAX_HELLO_BYTES:
            raise ValueError("too long a hello")
        return SandboxReport(**json.loads(self._receive(count, deadline)))

    def _ask(self, data: bytes, framing: Framing, deadline: float) -> Image:
        self._send(COUNT.pack(len(data)), deadline)
        self._send(data, deadline)
        status, first_frame_only, detail_count, pixel_count = ANSWER.unpack(
            self._receive(ANSWER.size, deadline)
        )
        shape = (framing.height_px, framing.width_px, 3)
        expected = shape[0] * shape[1] * shape[2] if status == Status.DECODED else 0
        if pixel_count != expected or detail_count > MAX_DETAIL_BYTES:
            raise ValueError("counts that do not fit")
        detail = self._receive(detail_count, deadline).decode("utf-8", "replace")
        if status != Status.DECODED:
            raise Unscorable(_REASONS[Status(status)], _printable(detail) or _OUT_OF_MEMORY)
        pixels = np.empty(shape, np.uint8)
        self._receive_into(pixels.data.cast("B"), deadline)
        return Image(pixels, (Note.FIRST_FRAME_ONLY,) if first_frame_only else ())

    def _send(self, data: bytes, deadline: float) -> None:
        self._socket.settimeout(_left_s(deadline))
        self._socket.sendall(data)

    def _receive(self, count: int, deadline: float) -> bytes:
        buffer = bytearray(count)
        self._receive_into(memoryview(buffer), deadline)
        return bytes(buffer)

    def _receive_into(self, view: memoryview, deadline: float) -> None:
        while view:
            self._socket.settimeout(_left_s(deadline))
            received = self._socket.recv_into(view)
            if received == 0:
                raise ConnectionError("the process has closed its end")
            view = view[received:]


def _left_s(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
