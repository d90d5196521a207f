"""A decoder process: `python -I -m moderation.media.child FRAMING MAX_PIXELS TIMEOUT_S MEMORY`.

Started by `process` with one end of a socket pair as standard input, and as standard output
the shared file that takes answers and pixels. It loads all it needs, locks itself in, says
hello, and then answers requests until the parent closes its end.
"""

import copy
import hashlib
import json
import os
import signal
import sys
import time
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

from moderation.media.childside import NO_SIZE, Board, File, Parent, ignore_stop_signals
from moderation.media.pixels import RejectedError, read_picture
from moderation.media.sandbox import lock_down
from moderation.media.wire import MAX_IMAGES, Status

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


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end."""
    ignore_stop_signals()
    fields, max_pixels, timeout_s, memory_bytes = arguments
    # The fields of a types.Framing, whose module imports numpy: that would treble the time
    # to start, and its threads' stacks would count against the memory limit.
    framing = cast("Framing", SimpleNamespace(**json.loads(fields)))
    Image.preinit()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the sandbox starts no threads
    desk = _Desk(framing, int(max_pixels))
    parent = Parent(MAX_IMAGES)
    parent.greet(lock_down(int(memory_bytes)))
    while (requests := parent.receive()) is not None:
        turn, files = requests
        for place, file in enumerate(files):
            # Its own end is exact, whatever the parent sees of it; nothing here catches it.
            signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
            desk.work(turn, place, file)
        signal.setitimer(signal.ITIMER_REAL, 0)
        parent.wake()


class _Desk:
    """Decodes files into the memory that is shared with the parent."""

    def __init__(self, framing: "Framing", max_pixels: int) -> None:
        self._framing = framing
        self._max_pixels = max_pixels
        self._image_bytes = framing.height_px * framing.width_px * 3
        self._board = Board(MAX_IMAGES, self._image_bytes)

    def work(self, turn: int, place: int, file: File) -> None:
        """Decode a file into its place and answer there."""
        started_s = time.monotonic()
        status, first_frame_only, size, detail = self._decode(place, file)
        self._board.answer(
            turn,
            place,
            time.monotonic() - started_s,
            status,
            first_frame_only=first_frame_only,
            size=size,
            detail=detail,
        )

    def _decode(self, place: int, file: File) -> tuple[Status, bool, tuple[int, int], bytes]:
        try:
            try:
                data = file.content()
            finally:
                os.close(file.descriptor)
            if not data:
                return Status.CORRUPT, False, NO_SIZE, b"the file is empty"
            if file.sha256 not in (None, hashlib.sha256(data).digest()):
                detail = b"the file is not what was stored; check the disk"
                return Status.CORRUPT, False, NO_SIZE, detail
            picture = read_picture(data, self._framing, self._max_pixels)
            at = place * self._image_bytes
            pixels = picture.image.tobytes()
            self._board.shared[at : at + len(pixels)] = pixels
        except RejectedError as error:
            return error.status, False, NO_SIZE, error.detail.encode("utf-8", "replace")
        except MemoryError:
            return Status.OUT_OF_MEMORY, False, NO_SIZE, b""
        except OSError as error:
            return Status.UNREADABLE, False, NO_SIZE, str(error).encode("utf-8", "replace")
        size = (picture.image.height, picture.image.width)
        return Status.DECODED, picture.first_frame_only, size, b""


if __name__ == "__main__":
    main(sys.argv[1:])
    # Nothing is left to flush, and the interpreter's own farewell wants denied system calls.
    os._exit(0)
