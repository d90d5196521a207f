"""Decodes untrusted image files in sandboxed child processes.

The children speak the small protocol of `wire` instead of multiprocessing's pickles, so
that a decoder that an image has taken over cannot run anything in the parent.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from moderation.errors import SetupError, TemporaryFault, Unscorable
from moderation.media.answers import Answer
from moderation.media.files import ImageFile
from moderation.media.gpu_decoders import GpuDecoders, batch_kind
from moderation.media.process import PILLOW, START_TIMEOUT_S, ChildFailedError, DecoderProcess, Kind
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import MAX_BATCH_IMAGES, MAX_IMAGES
from moderation.settings import Settings
from moderation.types import Framing, Image, Reason

# Fewer files are decoded sooner than a GPU has begun.
_FEWEST_AHEAD = 4


class DecoderPool:
    """Decodes images for one framing in child processes; threads may share one.

    `processes` children, 0 for one a core, start when first needed or all in `start()`. An
    image may have `max_pixels` (width x height), take `timeout_s` and make its process grow to
    `memory_bytes` of address space. A child that fails is replaced, and `on_restart` called.
    With `niceness`, children give way to what is more urgent.
    Close the pool after use, or enter it with `with`.

    It is used best by `threads` threads, each with `at_once` files a call. With `put_ahead`,
    GPU decoders are asked first.
    """

    def __init__(
        self,
        processes: int,
        framing: Framing,
        max_pixels: int,
        timeout_s: float,
        memory_bytes: int,
        on_restart: Callable[[], object] = lambda: None,
        niceness: int = 0,
    ) -> None:
        if framing.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"unknown interpolation {framing.interpolation!r}")
        if framing.resize_mode not in ("shortest", "longest", "squash", "within"):
            raise ValueError(f"unknown resize mode {framing.resize_mode!r}")
        self.processes = processes or len(os.sched_getaffinity(0))
        self.threads = self.processes
        self.at_once = MAX_IMAGES
        self._ahead: GpuDecoders | None = None
        self._framing = framing
        self._max_pixels = max_pixels
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._on_restart = on_restart
        self._niceness = niceness
        self._taking_all = threading.Lock()
        self._closed = False
        # Last in, first out: a quiet pool keeps few children busy and starts few.
        self._slots: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue()
        for _ in range(self.processes):
            self._slots.put(None)

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> SandboxReport:
        """Start every child now; return what protects them. Raises `SetupError`."""
        with self._taking_all:
            taken = [self._slots.get() for _ in range(self.processes)]
            try:
                for index, child in enumerate(taken):
                    taken[index] = self._ready(child)
            finally:
                for child in taken:
                    self._slots.put(child)
        return next(child.report for child in taken if child is not None)

    def decode(self, data: bytes, *, sha256: str | None = None) -> Image:
        """Decode the bytes of one image file; blocks while all children are busy.

        With `sha256`, in hex, a file of other content is corrupt.

        Raises `Unscorable` (unsupported, corrupt, too many pixels, or the decoder failed: it
        crashed, took too long or needed too much memory), and `TemporaryFault` when no child
        can be started.
        """
        file = ImageFile.of(data, sha256=bytes.fromhex(sha256) if sha256 else None)
        (answer,) = self.decode_all([file])
        if not isinstance(answer.outcome, Image):
            raise answer.outcome
        return answer.outcome

    def decode_all(self, files: Sequence[ImageFile]) -> list[Answer]:
        """Decode files and close them; an answer each, in order: the image or what `decode` raises.

        A child takes `MAX_IMAGES` at a time, which spares waking it and this thread for each.
        One at which a child fails costs that child, and the others nothing.
        """
        answers: list[Answer] = []
        try:
            if self._ahead is not None and len(files) >= _FEWEST_AHEAD:
                return self._ahead.decode_all(files, self._turn)
            while left := files[len(answers) :]:
                answers += self._turn(left[:MAX_IMAGES])
        finally:
            for file in files:
                file.close()
        return answers

    def put_ahead(self, decoders: GpuDecoders) -> None:
        """Ask these, which run, before the children of this pool, which closes them in the end."""
        self._ahead = decoders
        self.threads = self.processes + decoders.count
        self.at_once = MAX_BATCH_IMAGES

    def take_away(self) -> None:
        """Close the decoders that were put ahead, if any."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None
        self.threads = self.processes
        self.at_once = MAX_IMAGES

    def open_ahead(self, kind: Kind) -> GpuDecoders:
        """Decoders of such a kind, not started, of what this pool decodes."""
        return GpuDecoders(
            lambda: self._start_child(kind),
            on_restart=self._on_restart,
        )

    def _turn(self, files: Sequence[ImageFile]) -> Sequence[Answer]:
        """Answers of one child, at least one: up to the image at which it failed."""
        child = self._slots.get()
        try:
            child = self._ready(child)
            return child.decode(files)
        except SetupError as error:
            child = None
            fault = TemporaryFault(Reason.IMAGE_DECODER_FAILED, str(error))
            return [Answer(fault, 0.0)] * len(files)
        except ChildFailedError as error:
            child = None
            self._on_restart()
            failed = Answer(Unscorable(Reason.IMAGE_DECODER_FAILED, str(error)), self._timeout_s)
            return [*error.answers, failed]
        finally:
            self._slots.put(child)

    def close(self) -> None:
        """End all children, after the images at work are done or out of time."""
        with self._taking_all:
            if self._closed:
                return
            self._closed = True
            if self._ahead is not None:
                self._ahead.close()
            for child in [self._slots.get() for _ in range(self.processes)]:
                if child is not None:
                    child.kill()
            for _ in range(self.processes):
                self._slots.put(None)  # wakes those who wait, to learn that it is closed

    def _ready(self, child: DecoderProcess | None) -> DecoderProcess:
        """Return `child` if it can take another image, else one in its place."""
        if self._closed:
            raise RuntimeError("the DecoderPool is closed")
        if child is not None:
            alive = child.is_alive()
            if alive and not child.is_spent:
                return child
            if not alive:  # something else, such as the kernel out of memory, has ended it
                self._on_restart()
            child.kill()
        started = self._start_child(PILLOW)
        if self._niceness:
            started.give_way(self._niceness)
        return started

    def _start_child(self, kind: Kind) -> DecoderProcess:
        return DecoderProcess(
            self._framing, self._max_pixels, self._timeout_s, self._memory_bytes, kind
        )


def open_decoder(
    framing: Framing,
    settings: Settings,
    *,
    on_restart: Callable[[], object] = lambda: None,
    model_device: str | None = None,
) -> DecoderPool:
    """A pool as an operator has set it.

    With `model_device`, "cuda" or "cpu", a GPU decodes as well where that is wanted and proves
    right and faster, which takes some seconds to find out. Raises `SetupError` where it is
    demanded and not possible.
    """
    pool = DecoderPool(
        processes=settings.decode_processes,
        framing=framing,
        max_pixels=settings.max_image_pixels,
        timeout_s=settings.decode_timeout_s,
        memory_bytes=settings.decode_memory_bytes,
        on_restart=on_restart,
    )
    demanded = settings.decode_device == "cuda"
    if model_device is None or settings.decode_device == "cpu":
        return pool
    if demanded or model_device == "cuda":
        # Drawing probes and comparing them is for few.
        from moderation.media.choosing import try_ahead

        try:
            try_ahead(pool, pool.open_ahead(batch_kind("cuda")), demanded=demanded)
        except BaseException:
            pool.close()
            raise
    return pool


def sandbox_report(memory_bytes: int = 2**30) -> SandboxReport:
    """Start a decoder process and return what protects it here. Raises `SetupError`."""
    framing = Framing(1, 1, "bicubic", "squash", 0)
    with DecoderPool(1, framing, 1, START_TIMEOUT_S, memory_bytes) as pool:
        return pool.start()
