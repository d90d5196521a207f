"""One decoder process, seen from the parent, which believes nothing that it answers."""

import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from io import FileIO
from time import monotonic

import numpy as np

from moderation.errors import SetupError, Unscorable
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import ANSWER, COUNT, MAX_DETAIL_BYTES, MAX_HELLO_BYTES, REQUEST, Status
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
_SIZE_STAYS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
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
        with theirs, _shared_file(framing.height_px * framing.width_px * 3) as pixels_file:
            self._socket = ours
            pixels = np.frombuffer(
                mmap.mmap(pixels_file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8
            )
            self._pixels = pixels.reshape(framing.height_px, framing.width_px, 3)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-I", "-m", "moderation.media.child", *map(str, arguments)],
                    stdin=theirs.fileno(),
                    stdout=pixels_file,
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

    def decode(self, data: bytes, sha256: bytes | None, timeout_s: float) -> Image:
        """Have one image decoded, of this hash or unchecked.

        Raises `Unscorable`, or `ChildFailedError` and is dead.
        """
        self._images_left -= 1
        try:
            return self._ask(data, sha256, monotonic() + timeout_s)
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

    def _ask(self, data: bytes, sha256: bytes | None, deadline: float) -> Image:
        self._send(REQUEST.pack(len(data), sha256 is not None, sha256 or b""), data, deadline)
        status, first_frame_only, detail_count = ANSWER.unpack(self._receive(ANSWER.size, deadline))
        if detail_count > (0 if status == Status.DECODED else MAX_DETAIL_BYTES):
            raise ValueError("a count that does not fit")
        detail = self._receive(detail_count, deadline).decode("utf-8", "replace")
        if status != Status.DECODED:
            raise Unscorable(_REASONS[Status(status)], _printable(detail) or _OUT_OF_MEMORY)
        # A copy, since the child may write there at any time, and will for the next image.
        return Image(self._pixels.copy(), (Note.FIRST_FRAME_ONLY,) if first_frame_only else ())

    def _send(self, header: bytes, data: bytes, deadline: float) -> None:
        self._socket.settimeout(_left_s(deadline))
        # At once, so that the child is woken once.
        sent = self._socket.sendmsg((header, data)) - len(header)
        if sent < len(data):
            self._socket.settimeout(_left_s(deadline))
            self._socket.sendall(memoryview(data)[sent:])

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


def _shared_file(size_bytes: int) -> FileIO:
    """Return a file in memory whose size nobody can change: a cut would kill its readers."""
    file = FileIO(os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+")
    file.truncate(size_bytes)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SIZE_STAYS)
    return file


def _left_s(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
