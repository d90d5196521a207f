"""A decoder process: `python -I -m moderation.media.child FRAMING MAX_PIXELS TIMEOUT_S MEMORY`.

Started by `process` with one end of a socket pair as standard input, and as standard output
the shared file that takes the pixels. It loads all it needs, locks itself in, says hello, and
then answers requests until the parent closes its end.
"""

import copy
import hashlib
import json
import mmap
import os
import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

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
    REQUEST,
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
_PIXELS = 1  # the one of standard output
# The parent kills at the timeout; the alarm is for a child whose parent is gone.
_ALARM_GRACE_S = 2.0


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
    pixels = mmap.mmap(_PIXELS, 0)
    report = lock_down(int(memory_bytes))
    hello = json.dumps(report._asdict()).encode()
    _send(COUNT.pack(len(hello)), hello)
    _silence()
    while (header := _receive(REQUEST.size)) is not None:
        count, is_checked, sha256 = REQUEST.unpack(header)
        data = _receive(count)
        if data is None:
            return
        signal.setitimer(signal.ITIMER_REAL, float(timeout_s) + _ALARM_GRACE_S)
        if is_checked and sha256 != hashlib.sha256(data).digest():
            detail = b"the file is not what was stored; check the disk"
            _send(ANSWER.pack(Status.CORRUPT, False, len(detail)), detail)
        else:
            _answer(bytes(data), framing, int(max_pixels), pixels)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(data: bytes, framing: "Framing", max_pixels: int, pixels: mmap.mmap) -> None:
    try:
        picture = read_picture(data, framing, max_pixels)
        pixels[:] = picture.image.tobytes()
    except RejectedError as error:
        detail = error.detail.encode("utf-8", "replace")[:MAX_DETAIL_BYTES]
        _send(ANSWER.pack(error.status, False, len(detail)), detail)
    except MemoryError:
        _send(ANSWER.pack(Status.OUT_OF_MEMORY, False, 0))
    else:
        _send(ANSWER.pack(Status.DECODED, picture.first_frame_only, 0))


def _receive(count: int) -> bytearray | None:
    """Read exactly `count` bytes; None when the parent has closed its end."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        read = os.readv(_PARENT, [view])
        if read == 0:
            return None
        view = view[read:]
    return buffer


def _send(*parts: bytes) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(_PARENT, view) :]


def _silence() -> None:
    """From here on standard error is closed: an image must not write into our logs."""
    sys.stderr.flush()
    os.close(2)
    os.close(_PIXELS)  # the mapping stays


if __name__ == "__main__":
    main(sys.argv[1:])
    # Nothing is left to flush, and the interpreter's own farewell wants denied system calls.
    os._exit(0)
