"""The parts by themselves, in this process: towers, decoders, stock open_clip."""

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import torch

from moderation.media.answers import Answer
from moderation.media.decode import open_decoder
from moderation.media.files import ImageFile
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import choose_precision
from moderation.scoring.text import CaptionTokenizer
from moderation.settings import Settings
from moderation.types import Framing, Image, Pixels
from workers.bench.photos import Photo
from workers.bench.stock import StockModel
from workers.bench.usage import children, own_s

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Speed:
    """How many a second, and the CPU seconds that one took."""

    per_s: float
    cpu_s: float


class Forward:
    """The towers alone, on staged pixels and tokens, as many lanes at once as a worker has."""

    def __init__(self, model: ClipModel, settings: Settings, *, lanes: int) -> None:
        self.choice = choose_precision(model, settings.precision)
        self._tokenizer = CaptionTokenizer(model.tokenizer, model.context_length)
        self._lanes = lanes

    def run(self, pixels: Sequence[Pixels], photos: Sequence[Photo], *, seconds: float) -> Speed:
        """Encode these pairs again and again in one batch a lane for so many seconds.

        One batch before that does not count: a lane that has just started is slower, and on a GPU
        it records its passes where a size first occurs.
        """
        towers = self.choice.towers
        tokens = [self._tokenizer.tokenize(photo.caption).ids for photo in photos]
        is_cpu = towers.model.device.type == "cpu"

        def encode() -> None:
            towers.encode_images(pixels)
            towers.encode_captions(tokens)

        def lane() -> tuple[int, float]:
            pairs, started_cpu_s = 0, time.thread_time()
            while pairs == 0 or time.perf_counter() < deadline_s:
                encode()
                pairs += len(pixels)
            return pairs, time.thread_time() - started_cpu_s

        def begin() -> None:
            if is_cpu:
                # Holds for the calling thread: this lane.
                torch.set_num_threads(1)

        with ThreadPoolExecutor(self._lanes, initializer=begin) as threads:
            _all(threads.submit(encode) for _ in range(self._lanes))
            started_s = time.perf_counter()
            deadline_s = started_s + seconds
            runs = _all(threads.submit(lane) for _ in range(self._lanes))
            took_s = time.perf_counter() - started_s
        pairs = sum(pairs for pairs, _ in runs)
        return Speed(pairs / took_s, sum(cpu_s for _, cpu_s in runs) / pairs)


def decode(
    photos: Sequence[Photo],
    framing: Framing,
    settings: Settings,
    *,
    model_device: str | None = None,
) -> tuple[list[Pixels], Speed]:
    """Decode photos in a sandboxed pool: the pixels, and how fast.

    With the device of a worker's model, on what that worker decodes them.
    """
    others = children(os.getpid())
    pool = open_decoder(framing, settings, model_device=model_device)

    def decode_all(some: Sequence[Photo]) -> list[Pixels]:
        answers = pool.decode_all([ImageFile.of(photo.data) for photo in some])
        return [_pixels(answer) for answer in answers]

    share = min(pool.at_once, -(-len(photos) // pool.threads))
    turns = [photos[start : start + share] for start in range(0, len(photos), share)]
    with pool, ThreadPoolExecutor(pool.threads) as do:
        pool.start()
        before_s, started_s = own_s(without=others), time.perf_counter()
        images = [pixels for turn in do.map(decode_all, turns) for pixels in turn]
        took_s = time.perf_counter() - started_s
        cpu_s = own_s(without=others) - before_s
    return images, Speed(len(photos) / took_s, cpu_s / len(photos))


def _all(futures: Iterable[Future[T]]) -> list[T]:
    # All are submitted before the first is waited for.
    return [future.result() for future in list(futures)]


def _pixels(answer: Answer) -> Pixels:
    if not isinstance(answer.outcome, Image):
        raise answer.outcome
    return answer.outcome.pixels


def stock_batch(stock: StockModel, photos: Sequence[Photo]) -> tuple[list[float], float]:
    """Stock open_clip on one batch of files: the cosines and pairs a second, towers alone."""
    pixels = [stock.preprocess(BytesIO(photo.data), as_shown=True) for photo in photos]
    started_s = time.perf_counter()
    cosines = stock.cosines(pixels, [photo.caption for photo in photos])
    return cosines, len(photos) / (time.perf_counter() - started_s)
