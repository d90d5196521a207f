"""The process that encodes copies: `python -I -m moderation.media.encoder_child MEMORY`.

Started by `encoder` with one end of a socket pair as standard input and the shared memory as
standard output. It gets pixels only: whoever has taken a decoder over cannot write a file that
people's browsers open. It loads all it needs, locks itself in, says hello, and then encodes
until the parent closes its end.
"""

import io
import json
import mmap
import os
import signal
import sys

from PIL import Image

from moderation.media.encoder_wire import (
    ANSWER,
    JPEG_BYTES,
    REQUEST,
    jpeg_at,
    pixels_at,
)
from moderation.media.sandbox import lock_down
from moderation.media.wire import COUNT

_PARENT = 0  # the file descriptor of standard input
_SHARED = 1  # the one of standard output
# Artefacts are hard to see, and a fifth of the bytes that 95 takes.
_QUALITY = 88


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end."""
    # Ctrl-C signals a whole group, but the images at work are to be finished.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    (memory_bytes,) = arguments
    # Everything that Pillow would import when it first needs it: later it cannot open files.
    Image.preinit()
    encode(bytes(3), 1, 1)
    shared = memoryview(mmap.mmap(_SHARED, 0))
    report = json.dumps(lock_down(int(memory_bytes))._asdict()).encode()
    os.write(_PARENT, COUNT.pack(len(report)) + report)
    sys.stderr.flush()
    os.close(2)
    os.close(_SHARED)  # the mapping stays
    # A request comes in one piece: it is short, and the next comes after the answer.
    while request := os.read(_PARENT, REQUEST.size):
        count, *sides = REQUEST.unpack(request)
        sizes = zip(sides[::2], sides[1::2], strict=True)
        answer = [
            _encode_at(shared, place, *size) if place < count else 0
            for place, size in enumerate(sizes)
        ]
        os.write(_PARENT, ANSWER.pack(*answer))


def encode(pixels: bytes | memoryview, height_px: int, width_px: int) -> bytes:
    """A JPEG of rows of RGB, and of nothing else; the same for the same pixels."""
    file = io.BytesIO()
    Image.frombytes("RGB", (width_px, height_px), pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _encode_at(shared: memoryview, place: int, height_px: int, width_px: int) -> int:
    start = pixels_at(place)
    try:
        jpeg = encode(shared[start : start + height_px * width_px * 3], height_px, width_px)
    except MemoryError:
        return 0
    if len(jpeg) > JPEG_BYTES:
        return 0
    shared[jpeg_at(place) : jpeg_at(place) + len(jpeg)] = jpeg
    return len(jpeg)


if __name__ == "__main__":
    main(sys.argv[1:])
    # Nothing is left to flush, and the interpreter's own farewell wants denied system calls.
    os._exit(0)
