"""Whether a GPU decodes images: only if it proves here and now that it is right and faster."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import structlog

from moderation.errors import SetupError
from moderation.media.answers import Answer
from moderation.media.decode import DecoderPool
from moderation.media.files import ImageFile
from moderation.media.gpu_decoders import GpuDecoders
from moderation.media.probes import draw_probes
from moderation.media.wire import MAX_BATCH_IMAGES
from moderation.types import Image

log = structlog.get_logger()

# Of 255, for any one probe. The same arithmetic on a CPU differs from Pillow's by 0.3 and by 2,
# since Pillow averages large JPEGs down first. Where 4:2:0's colours are not smoothed between
# pixels, as nvJPEG may leave them, it was 1.3 and 11 for probes near the frame's own size.
MAX_MEAN_DIFFERENCE = 2.0
MAX_P99_DIFFERENCE = 16.0
_LEAST_READ = 0.5
_LEAST_GAIN = 1.05
_MEASURE_S = 1.0
# Without these, a file that takes such a process over could reach more than a GPU.
_NEEDED = {"landlock", "seccomp"}


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like pictures are: the largest mean and 99th percentile of any, of 255."""

    probes: int
    read: int
    mean_difference: float
    p99_difference: float

    @property
    def problem(self) -> str | None:
        """Why these pictures may not stand for those of Pillow, if so."""
        if self.read < _LEAST_READ * self.probes:
            return f"it reads {self.read} of {self.probes} probes"
        if self.mean_difference > MAX_MEAN_DIFFERENCE or self.p99_difference > MAX_P99_DIFFERENCE:
            return "its pictures differ from Pillow's"
        return None


def try_ahead(
    pool: DecoderPool,
    decoders: GpuDecoders,
    *,
    demanded: bool,
    measure: Callable[[DecoderPool, Sequence[bytes]], float] | None = None,
) -> None:
    """Put GPU decoders ahead of a pool if they are safe, right and faster; log what was found.

    Demanded, they need only be right: raises `SetupError` where they are not, or do not start.
    `measure` says how many such files a second a pool decodes.
    """
    figures: dict[str, object] = {}
    try:
        problem = _try(pool, decoders, figures, measure or _speed, demanded=demanded)
    except Exception as error:  # a trial that fails is no reason to stop
        pool.take_away()
        decoders.close()
        problem = f"{type(error).__name__}: {error}"
    device = "cpu" if problem else "cuda"
    log.info("decode_device_chosen", device=device, reason=problem, **figures)
    if problem and demanded:
        raise SetupError(
            f"CAPTIONGUARD_DECODE_DEVICE is cuda, but JPEGs cannot be decoded there: {problem}. "
            "Set it to auto."
        )


def _try(
    pool: DecoderPool,
    decoders: GpuDecoders,
    figures: dict[str, object],
    measure: Callable[[DecoderPool, Sequence[bytes]], float],
    *,
    demanded: bool,
) -> str | None:
    """Put them ahead, or say why not."""
    try:
        report = decoders.start()
    except SetupError as error:
        return f"it does not start: {error}"
    figures["missing"] = report.missing
    problem = None
    if not demanded and _NEEDED.intersection(report.missing):
        problem = "its sandbox would lack what holds it"
    probes = draw_probes()
    if problem is None:
        likeness = compare(pool, decoders, probes)
        figures.update(asdict(likeness))
        problem = likeness.problem
    if problem:
        decoders.close()
        return problem
    figures["without_per_s"] = before = measure(pool, probes)
    pool.put_ahead(decoders)
    figures["with_per_s"] = after = measure(pool, probes)
    if after < _LEAST_GAIN * before and not demanded:
        pool.take_away()
        return "it is not faster"
    return None


def compare(pool: DecoderPool, decoders: GpuDecoders, files: Sequence[bytes]) -> Likeness:
    """Decode files both ways and compare what both can read. Raises `RuntimeError` if ended."""
    expected = pool.decode_all([ImageFile.of(data) for data in files])
    found: list[Answer | None] = []
    for start in range(0, len(files), MAX_BATCH_IMAGES):
        turn = [ImageFile.of(data) for data in files[start : start + MAX_BATCH_IMAGES]]
        try:
            found += decoders.decode(turn) or [None] * len(turn)
        finally:
            for file in turn:
                file.close()
    differences = [
        np.abs(right.outcome.pixels.astype(np.int16) - answer.outcome.pixels)
        for right, answer in zip(expected, found, strict=True)
        if answer is not None
        and isinstance(right.outcome, Image)
        and isinstance(answer.outcome, Image)
    ]
    return Likeness(
        probes=len(files),
        read=len(differences),
        mean_difference=round(max((float(d.mean()) for d in differences), default=0.0), 3),
        p99_difference=max((float(np.percentile(d, 99)) for d in differences), default=0.0),
    )


def _speed(pool: DecoderPool, files: Sequence[bytes]) -> float:
    """Images a second, with as many threads and files as suit the pool."""
    pool.start()
    deadline_s = time.perf_counter() + _MEASURE_S
    turn = (list(files) * pool.at_once)[: pool.at_once]

    def work(_: int) -> int:
        count = 0
        while count == 0 or time.perf_counter() < deadline_s:
            count += len(pool.decode_all([ImageFile.of(data) for data in turn]))
        return count

    started_s = time.perf_counter()
    with ThreadPoolExecutor(pool.threads) as threads:
        count = sum(threads.map(work, range(pool.threads)))
    return round(count / (time.perf_counter() - started_s), 1)
