"""A decoder process with a GPU: `python -I -m moderation.media.gpu_child` and `child`'s arguments.

After those comes the device, "cuda"; "cpu" does the same work without a GPU, for tests. It locks
itself in by halves (`gpu_sandbox` says why), starts CUDA and reads JPEGs of all kinds between
the two, so that what loads at first use is there. Then it answers as `child` does, but only
that a file is decoded or that another decoder is to read it. A turn as a whole may take as long
as another decoder may for one image; what is not begun at half of that, others are to read.
"""

import hashlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from moderation.media.childside import Board, File, Parent, ignore_stop_signals
from moderation.media.gpu_sandbox import early_domain, lock_down_for_gpu
from moderation.media.wire import MAX_BATCH_IMAGES, Status

if TYPE_CHECKING:
    from moderation.media.batch import BatchDecoder
    from moderation.types import Framing

# Of the GPU's memory, so that no file takes the model's.
_MAX_GPU_BYTES = 4 * 2**30


def main(arguments: list[str]) -> None:
    """Serve requests until the parent closes its end."""
    ignore_stop_signals()
    fields, max_pixels, timeout_s, _, device = arguments
    parent = Parent(MAX_BATCH_IMAGES)
    with early_domain() as is_early:
        desk = _open_desk(fields, int(max_pixels), float(timeout_s), device)
    if isinstance(desk, Exception):
        parent.refuse(f"{type(desk).__name__}: {desk}"[:600])
        return
    parent.greet(lock_down_for_gpu(MAX_BATCH_IMAGES, is_early=is_early))
    while (requests := parent.receive()) is not None:
        signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
        desk.work(*requests)
        signal.setitimer(signal.ITIMER_REAL, 0)
        parent.wake()


def _open_desk(fields: str, max_pixels: int, timeout_s: float, device: str) -> "_Desk | Exception":
    """Load all there is to load, and use it once; what kept us from it, on this machine."""
    try:
        return _loaded_desk(fields, max_pixels, timeout_s, device)
    except Exception as error:  # libraries and drivers raise anything
        return error


def _loaded_desk(fields: str, max_pixels: int, timeout_s: float, device: str) -> "_Desk":
    import torch

    from moderation.media.batch import BatchDecoder
    from moderation.types import Framing

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    if device == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError("torch sees no GPU")
        total_bytes = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, _MAX_GPU_BYTES / total_bytes))
    framing = Framing(**json.loads(fields))
    desk = _Desk(framing, BatchDecoder(framing, max_pixels, device), timeout_s)
    desk.warm_up(thoroughly=device == "cuda")
    return desk


class _Desk:
    """Decodes turns into the memory that is shared with the parent."""

    def __init__(self, framing: "Framing", decoder: "BatchDecoder", timeout_s: float) -> None:
        import torch

        size = (framing.height_px, framing.width_px)
        image_bytes = size[0] * size[1] * 3
        self._decoder = decoder
        self._timeout_s = timeout_s
        self._size = size
        self._sound = b""
        self._board = Board(MAX_BATCH_IMAGES, image_bytes)
        pixels = torch.frombuffer(
            self._board.shared, dtype=torch.uint8, count=MAX_BATCH_IMAGES * image_bytes
        )
        self._frames = pixels.view(MAX_BATCH_IMAGES, *size, 3)

    def warm_up(self, *, thoroughly: bool) -> None:
        """Read every kind of JPEG, as many at once and as large as there will be if thoroughly.

        Raises `RuntimeError` if none is read.
        """
        from moderation.media.probes import draw_large, draw_probes

        probes = draw_probes()
        self._sound = probes[0]
        turns = [probes]
        if thoroughly:
            turns += 2 * [(2 * probes)[:MAX_BATCH_IMAGES], probes[:1], draw_large()]
        for some in turns:
            self._decoder.read(some, self._frames[: len(some)])
        problems = self._decoder.read([self._sound], self._frames[:1])
        if problems[0] is not None:
            raise RuntimeError(problems[0])

    def work(self, turn: int, files: list[File]) -> None:
        """Decode files into their places and answer there."""
        started_s = time.monotonic()
        contents = [_content(file) for file in files]
        failures = self._decoder.failures
        until_s = started_s + self._timeout_s / 2
        problems = self._decoder.read(contents, self._frames[: len(files)], until_s=until_s)
        if self._decoder.failures > failures and not self._is_well():
            # After some faults a GPU does nothing more for a process; its files go elsewhere.
            os._exit(1)
        took_s = (time.monotonic() - started_s) / len(files)
        for place, problem in enumerate(problems):
            if problem is None:
                self._board.answer(turn, place, took_s, Status.DECODED, size=self._size)
            else:
                detail = problem.encode("utf-8", "replace")
                self._board.answer(turn, place, took_s, Status.HANDED_ON, detail=detail)

    def _is_well(self) -> bool:
        import torch

        spare = torch.empty_like(self._frames[:1])
        return self._decoder.read([self._sound], spare) == [None]


def _content(file: File) -> bytes:
    """The file's bytes; none of what cannot be read or is not what was stored: Pillow's to say."""
    try:
        data = file.content()
    except OSError:
        return b""
    finally:
        os.close(file.descriptor)
    if file.sha256 not in (None, hashlib.sha256(data).digest()):
        return b""
    return data


if __name__ == "__main__":
    main(sys.argv[1:])
    # Nothing is left to flush, and the interpreter's own farewell wants denied system calls.
    os._exit(0)
