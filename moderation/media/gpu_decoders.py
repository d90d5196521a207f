"""GPU decoder processes that a pool asks first; what they do not answer, others decode."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

import structlog

from moderation.errors import SetupError
from moderation.media.answers import Answer, HandedOn
from moderation.media.files import ImageFile
from moderation.media.process import ChildFailedError, DecoderProcess, Kind
from moderation.media.sandbox import SandboxReport
from moderation.media.wire import MAX_BATCH_IMAGES, MAX_IMAGES

log = structlog.get_logger()

# Starting one takes seconds: CUDA, and all that is loaded before it is locked in.
_START_TIMEOUT_S = 120.0
_IMAGES_A_CHILD = 1_000_000
_FAILURES_IN_A_ROW = 3
_WAIT_BEFORE_START_S = 1.0
# Which GPU is ours, and where it is shared with others.
_KEPT_VARIABLES = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_MPS_PIPE_DIRECTORY",
)


def batch_kind(device: str) -> Kind:
    """The kind of process that decodes many JPEGs at once on a device."""
    return Kind(
        "moderation.media.gpu_child",
        places=MAX_BATCH_IMAGES,
        images=_IMAGES_A_CHILD,
        arguments=(device,),
        start_timeout_s=_START_TIMEOUT_S,
        hands_on=True,
        kept_variables=_KEPT_VARIABLES,
        # It could not write what it keeps of compiled kernels; and it works in one thread.
        variables={"CUDA_CACHE_DISABLE": "1", "OMP_NUM_THREADS": "1"},
    )


class GpuDecoders:
    """`count` processes, each of which one thread uses at a time; `start_one` starts one.

    One that fails is replaced in the background, and `on_restart` called; after some failures
    in a row none is started any more. Close it after use.
    """

    def __init__(
        self,
        start_one: Callable[[], DecoderProcess],
        *,
        count: int = 1,
        on_restart: Callable[[], object] = lambda: None,
    ) -> None:
        self.count = count
        self._start_one = start_one
        self._on_restart = on_restart
        self._free: queue.SimpleQueue[DecoderProcess] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failures = 0
        self._closed = threading.Event()
        self._starting: list[threading.Thread] = []

    def start(self) -> SandboxReport:
        """Start all; return what protects them. Raises `SetupError`, and none runs then."""
        report = None
        try:
            for _ in range(self.count):
                child = self._start_one()
                report = child.report
                self._free.put(child)
        except BaseException:
            self.close()
            raise
        if report is None:
            raise ValueError("no process was asked for")
        return report

    def decode_all(
        self, files: Sequence[ImageFile], others: Callable[[Sequence[ImageFile]], Sequence[Answer]]
    ) -> list[Answer]:
        """Decode files where there is room: here if a process is free, else by `others`.

        These get up to `MAX_IMAGES`, and answer for the first of them at least.
        """
        answers: dict[int, Answer] = {}
        fresh = list(range(len(files)))
        handed_on: list[int] = []
        while fresh or handed_on:
            batch = fresh[:MAX_BATCH_IMAGES]
            found = self.decode([files[place] for place in batch]) if batch else None
            if found is not None:
                fresh = fresh[len(batch) :]
                for place, answer in zip(batch, found, strict=True):
                    if answer is None:
                        handed_on.append(place)
                    else:
                        answers[place] = answer
                continue
            turn = [*handed_on, *fresh][:MAX_IMAGES]
            # One at which a decoder failed is the last that it answered for.
            done = dict(zip(turn, others([files[place] for place in turn]), strict=False))
            answers |= done
            handed_on = [place for place in handed_on if place not in done]
            fresh = [place for place in fresh if place not in done]
        return [answers[place] for place in range(len(files))]

    def decode(self, files: Sequence[ImageFile]) -> list[Answer | None] | None:
        """Decode up to `MAX_BATCH_IMAGES` files: an answer each, None where others are to decode.

        None instead of a list if no process is free just now.
        """
        try:
            child = self._free.get_nowait()
        except queue.Empty:
            return None
        answers: Sequence[Answer] = ()
        try:
            answers = child.decode(files)
        except ChildFailedError as error:
            answers = error.answers
            log.warning("gpu_decoder_failed", problem=str(error), files=len(files))
            self._replace(failed=True)
        except BaseException:
            self._replace(failed=True)
            raise
        else:
            self._failures = 0
            self._give_back(child)
        found = [None if isinstance(a.outcome, HandedOn) else a for a in answers]
        return [*found, *[None] * (len(files) - len(found))]

    def close(self) -> None:
        """End all processes; those at work end when they are done."""
        with self._lock:
            self._closed.set()
            starting = list(self._starting)
        for thread in starting:
            thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().kill()

    def _give_back(self, child: DecoderProcess) -> None:
        if child.is_spent:
            child.kill()
            self._replace(failed=False)
            return
        with self._lock:
            if not self._closed.is_set():
                self._free.put(child)
                return
        child.kill()

    def _replace(self, *, failed: bool) -> None:
        """Have another process started: nobody waits for it, others decode until it is there."""
        if failed:
            self._on_restart()
        with self._lock:
            self._failures += failed
            if self._closed.is_set() or self._has_given_up():
                return
            self._starting = [thread for thread in self._starting if thread.is_alive()]
            thread = threading.Thread(
                target=self._restart, name="captionguard-gpu-decoder", daemon=True
            )
            self._starting.append(thread)
            thread.start()

    def _restart(self) -> None:
        while not self._closed.wait(_WAIT_BEFORE_START_S):
            try:
                child = self._start_one()
            except SetupError as error:
                log.warning("gpu_decoder_failed", problem=str(error), files=0)
                self._failures += 1
                if self._has_given_up():
                    return
            else:
                self._give_back(child)
                return

    def _has_given_up(self) -> bool:
        if self._failures < _FAILURES_IN_A_ROW:
            return False
        log.error("gpu_decoder_given_up", failures=self._failures)
        return True
