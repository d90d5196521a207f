"""Makes JPEGs of pixels in a process of its own, which spares this one the time and the lock.

That process never sees a file that somebody else has written, and is locked in like those that
do; what it answers is believed as far as it can be checked.
"""

import contextlib
import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from io import FileIO
from time import monotonic

import numpy as np

from moderation.errors import SetupError, TemporaryFault
from moderation.media.encoder_wire import (
    ANSWER,
    JPEG_BYTES,
    LONGEST_SIDE_PX,
    PIXELS_BYTES,
    PLACES,
    REQUEST,
    SHARED_BYTES,
    jpeg_at,
)
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import COUNT, MAX_HELLO_BYTES
from moderation.types import Image, Reason

# Starting takes a tenth of a second; a machine under load may take long, but not for ever.
_START_TIMEOUT_S = 60.0
# The interpreter and one image of the largest size, thrice; what is shared counts as well.
_MEMORY_BYTES = 256 * 2**20 + SHARED_BYTES
_COMMAND = ("-I", "-m", "moderation.media.encoder_child")
# Nothing of our environment, which holds credentials; the loader may need to find libpython.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH",)
_SIZE_STAYS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"


class Encoder:
    """Encodes images as JPEGs; used by one thread at a time. Close it after use.

    Its process starts when first needed and is replaced when it fails, or takes longer than
    `timeout_s` for the images of a call. With `niceness` it gives way to what is more urgent.
    """

    def __init__(self, timeout_s: float, niceness: int = 0) -> None:
        self._timeout_s = timeout_s
        self._niceness = niceness
        self._process: _EncoderProcess | None = None

    def start(self) -> SandboxReport:
        """Have the process run; return what protects it. Raises `SetupError`."""
        return self._running().report

    def encode_all(self, images: Sequence[Image]) -> list[bytes | TemporaryFault]:
        """JPEGs of up to `PLACES` images, in order; equal pixels make equal bytes.

        An image is at most `LONGEST_SIDE_PX` on a side. Where the process cannot be started or
        fails, all have a `TemporaryFault`: another try tells at which.
        """
        sides = [side for image in images for side in image.pixels.shape[:2]]
        if len(images) > PLACES or max(sides, default=0) > LONGEST_SIDE_PX:
            raise ValueError("more images, or larger ones, than there is room for")
        try:
            return self._running().encode(images, self._timeout_s)
        except (SetupError, OSError, ValueError) as error:
            self.close()
            why = "it took too long" if isinstance(error, TimeoutError) else str(error)
            return [_fault(f"the encoder failed: {why}")] * len(images)
        except BaseException:
            self.close()  # an interrupt leaves half a turn behind
            raise

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _running(self) -> "_EncoderProcess":
        if self._process is not None and not self._process.is_alive():
            self.close()  # something else, such as the kernel out of memory, has ended it
        if self._process is None:
            self._process = _EncoderProcess(self._niceness)
        return self._process


class _EncoderProcess:
    """The process as the parent sees it. Raises `SetupError` when it does not start."""

    def __init__(self, niceness: int) -> None:
        try:
            with _shared_file() as file:
                self._start(file)
            self.report = self._hello(monotonic() + _START_TIMEOUT_S)
        except (OSError, ValueError, TypeError) as error:
            self.kill()
            raise SetupError(
                f"The process that encodes copies cannot be started: {error}"
            ) from error
        except BaseException:
            self.kill()
            raise
        with contextlib.suppress(OSError):  # one that has ended is noticed when it is used
            # Beyond its parent's own: some run all of us at a low priority.
            niceness += os.getpriority(os.PRIO_PROCESS, self._process.pid)
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once and reap it."""
        if process := getattr(self, "_process", None):
            process.kill()
            process.wait()
            self._socket.close()

    def encode(self, images: Sequence[Image], timeout_s: float) -> list[bytes | TemporaryFault]:
        """Raises `OSError`, `TimeoutError` among them, and `ValueError` for what cannot be."""
        for place, image in enumerate(images):
            self._pixels[place, : image.pixels.size].reshape(image.pixels.shape)[:] = image.pixels
        sides = [side for image in images for side in image.pixels.shape[:2]]
        request = REQUEST.pack(len(images), *sides, *[0] * (2 * PLACES - len(sides)))
        self._socket.settimeout(timeout_s)
        # It is taken whole: what was sent before has been read.
        self._socket.sendall(request)
        counts = ANSWER.unpack(self._receive(ANSWER.size, monotonic() + timeout_s))
        return [self._jpeg(place, counts[place]) for place in range(len(images))]

    def _jpeg(self, place: int, count: int) -> bytes | TemporaryFault:
        if count == 0:
            return _fault("encoding needs more memory than the encoder may have")
        if count > JPEG_BYTES:
            raise ValueError("a count that does not fit")
        # A copy that is looked at, since the child may write there at any time.
        jpeg = bytes(self._shared[jpeg_at(place) : jpeg_at(place) + count])
        if not (jpeg.startswith(_BEGIN) and jpeg.endswith(_END)):
            raise ValueError("what it answered is no JPEG")
        return jpeg

    def _start(self, file: FileIO) -> None:
        shared = mmap.mmap(file.fileno(), 0)
        self._shared = memoryview(shared)
        pixels = np.frombuffer(shared, np.uint8, PLACES * PIXELS_BYTES)
        self._pixels = pixels.reshape(PLACES, PIXELS_BYTES)
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, *_COMMAND, str(_MEMORY_BYTES)],
                    stdin=theirs.fileno(),
                    stdout=file,
                    env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                    cwd="/",
                )
            except OSError:
                self._socket.close()
                raise

    def _hello(self, deadline_s: float) -> SandboxReport:
        (count,) = COUNT.unpack(self._receive(COUNT.size, deadline_s))
        if count > MAX_HELLO_BYTES:
            raise ValueError("too long a hello")
        return SandboxReport(**json.loads(self._receive(count, deadline_s)))

    def _receive(self, count: int, deadline_s: float) -> bytes:
        data = b""
        while len(data) < count:
            left_s = deadline_s - monotonic()
            if left_s <= 0:
                raise TimeoutError("the deadline has passed")
            self._socket.settimeout(left_s)
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("its process ended in the middle")
            data += more
        return data


def _shared_file() -> FileIO:
    """Return a file in memory whose size nobody can change: a cut would kill its readers."""
    file = FileIO(os.memfd_create("copies", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+")
    file.truncate(SHARED_BYTES)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SIZE_STAYS)
    return file


def _fault(detail: str) -> TemporaryFault:
    return TemporaryFault(Reason.IMAGE_DECODER_FAILED, detail)
