"""A decoder process: `python -I -m moderation.media.child FRAMING MAX_PIXELS TIMEOUT_S MEMORY`.

Started by `process` with one end of a socket pair as standard input, and as standard output
the shared file that takes answers and pixels. It loads all it needs, locks itself in, says
hello, and then answers requests until the parent closes its end.
"""

import copy
import hashlib
import json
import mmap
import os
import signal
import struct
import sys
import time

# Not `socket`, which loads much that an intruder could use.
from _socket import AF_UNIX, CMSG_SPACE, SOCK_STREAM, socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

# Everything that Pillow would import when it first needs it: later it cannot open files.
from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageColor,
    ImageFile,
    ImagePalette,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    WebPImagePlugin,
)

from moderation.media.pixels import RejectedError, read_picture
from moderation.media.sandbox import lock_down
from moderation.media.wire import (
    ANSWER,
    COUNT,
    MAX_DETAIL_BYTES,
    MAX_IMAGES,
    MAX_REQUESTS_BYTES,
    REQUEST,
    TURN,
    Status,
)

if TYPE_CHECKING:
    from moderation.types import Framing

_LOADED = (
    AvifImagePlugin,
    GifImagePlugin,
    ImageCms,
    ImageColor,
    ImageFile,
    ImagePalette,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    WebPImagePlugin,
    copy,
)
_PARENT = 0  # the file descriptor of standard input
_SHARED = 1  # the one of standard output
_INT_BYTES = 4
_NO_TURN = 0
_NO_SIZE = (0, 0)


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end."""
    # Ctrl-C and service managers signal a whole group at once, but the images at work are to
    # be finished: the parent's closing its end is what ends this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    fields, max_pixels, timeout_s, memory_bytes = arguments
    # The fields of a types.Framing, whose module imports numpy: that would treble the time
    # to start, and its threads' stacks would count against the memory limit.
    framing = cast("Framing", SimpleNamespace(**json.loads(fields)))
    Image.preinit()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the sandbox starts no threads
    desk = _Desk(framing, int(max_pixels))
    parent = socket(AF_UNIX, SOCK_STREAM, 0, _PARENT)
    report = lock_down(int(memory_bytes))
    hello = json.dumps(report._asdict()).encode()
    os.write(_PARENT, COUNT.pack(len(hello)) + hello)
    _silence()
    while (requests := _receive(parent)) is not None:
        turn, files = requests
        for place, file in enumerate(files):
            # Its own end is exact, whatever the parent sees of it; nothing here catches it.
            signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
            desk.work(turn, place, file)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(_PARENT, b"\0")


class _File(NamedTuple):
    descriptor: int
    size_bytes: int
    sha256: bytes | None


class _Desk:
    """Decodes files into the memory that is shared with the parent."""

    def __init__(self, framing: "Framing", max_pixels: int) -> None:
        self._framing = framing
        self._max_pixels = max_pixels
        self._shared = mmap.mmap(_SHARED, 0)
        self._image_bytes = framing.height_px * framing.width_px * 3

    def work(self, turn: int, place: int, file: _File) -> None:
        """Decode a file into its place and answer there."""
        started_s = time.monotonic()
        status, first_frame_only, size, detail = self._decode(place, file)
        cut = detail[:MAX_DETAIL_BYTES]
        took_us = min(int((time.monotonic() - started_s) * 1e6), 2**32 - 1)
        at = MAX_IMAGES * self._image_bytes + place * ANSWER.size
        answer = (status, first_frame_only, *size, took_us, len(cut), cut)
        ANSWER.pack_into(self._shared, at, _NO_TURN, *answer)
        # Last, since a process may be ended between any two steps.
        COUNT.pack_into(self._shared, at, turn)

    def _decode(self, place: int, file: _File) -> tuple[Status, bool, tuple[int, int], bytes]:
        try:
            try:
                data = _content(file)
            finally:
                os.close(file.descriptor)
            if not data:
                return Status.CORRUPT, False, _NO_SIZE, b"the file is empty"
            if file.sha256 not in (None, hashlib.sha256(data).digest()):
                detail = b"the file is not what was stored; check the disk"
                return Status.CORRUPT, False, _NO_SIZE, detail
            picture = read_picture(data, self._framing, self._max_pixels)
            at = place * self._image_bytes
            pixels = picture.image.tobytes()
            self._shared[at : at + len(pixels)] = pixels
        except RejectedError as error:
            return error.status, False, _NO_SIZE, error.detail.encode("utf-8", "replace")
        except MemoryError:
            return Status.OUT_OF_MEMORY, False, _NO_SIZE, b""
        except OSError as error:
            return Status.UNREADABLE, False, _NO_SIZE, str(error).encode("utf-8", "replace")
        size = (picture.image.height, picture.image.width)
        return Status.DECODED, picture.first_frame_only, size, b""


def _content(file: _File) -> bytes:
    # From its beginning: a decoder that died may have read from the same open file.
    data = os.pread(file.descriptor, file.size_bytes, 0)
    while len(data) < file.size_bytes and (
        more := os.pread(file.descriptor, file.size_bytes - len(data), len(data))
    ):
        data += more
    return data


def _receive(parent: socket) -> tuple[int, list[_File]] | None:
    """Take a turn's requests, which come in one piece; None when the parent has closed its end."""
    room = CMSG_SPACE(MAX_IMAGES * _INT_BYTES)
    message, ancillary, _, _ = parent.recvmsg(MAX_REQUESTS_BYTES, room)
    if not message:
        return None
    turn, count = TURN.unpack_from(message)
    descriptors = struct.unpack(f"{count}i", ancillary[0][2])
    requests = REQUEST.iter_unpack(message[TURN.size :])
    return turn, [
        _File(descriptor, size_bytes, sha256 if is_checked else None)
        for descriptor, (size_bytes, is_checked, sha256) in zip(descriptors, requests, strict=True)
    ]


def _silence() -> None:
    """From here on standard error is closed: an image must not write into our logs."""
    sys.stderr.flush()
    os.close(2)
    os.close(_SHARED)  # the mapping stays


if __name__ == "__main__":
    main(sys.argv[1:])
    # Nothing is left to flush, and the interpreter's own farewell wants denied system calls.
    os._exit(0)
