"""What a batch runs in on a GPU: a stream, and buffers that stay where they are."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from moderation.scoring.model import ClipModel
from moderation.scoring.padding import largest_step, spans
from moderation.scoring.replay import Recordings
from moderation.types import Pixels

Vectors = NDArray[np.float32]

_MOST_ROWS = 256
# Pinned memory of a lane for pixels, and as much of the GPU's.
_PIXEL_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Passes:
    """Both towers on the device: what is there to unit vectors, (n, embedding), fp32 there.

    `images` takes colours, uint8 (n, height, width * 3); `captions` token ids,
    (n, context_length), and the length at which to read them. `buckets` says of token ids on
    the CPU which rows are read at which length, each row once.
    """

    images: Callable[[torch.Tensor], torch.Tensor]
    captions: Callable[[torch.Tensor, int], torch.Tensor]
    buckets: Callable[[torch.Tensor], Sequence[tuple[int, list[int]]]]


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Rows here, pinned for a GPU, and their place on the device; both stay where they are."""

    here: torch.Tensor
    there: torch.Tensor

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Self:
        # Zeros: rows that only fill a batch up must be images and token ids, whichever.
        here = torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
        return cls(here, torch.zeros(shape, dtype=dtype, device=device))

    def send(self, start: int, count: int) -> None:
        """Copy rows from `start` on to the device's first ones, not waited for."""
        self.there[:count].copy_(self.here[start : start + count], non_blocking=True)

    def fetch(self, start: int, count: int) -> None:
        """Copy the device's first rows to those from `start` on here, not waited for."""
        self.here[start : start + count].copy_(self.there[:count], non_blocking=True)


class Lane:
    """Encodes one batch at a time. All it does is in the order of its stream.

    So a buffer is written again only after what was read from it, and the host, which that
    order does not bind, waits for the last copy before it returns.
    """

    def __init__(
        self, model: ClipModel, passes: Passes, dimensions: int, recordings: Recordings | None
    ) -> None:
        device, framing = model.device, model.framing
        self._passes, self._recordings = passes, recordings
        row = (framing.height_px, framing.width_px * 3)
        self._rows = largest_step(min(_MOST_ROWS, _PIXEL_BYTES // (row[0] * row[1])))
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Waiting would otherwise spin, and take a core from the decoders.
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with self._on_stream():
            self._pixels = _Buffer.of((self._rows, *row), torch.uint8, device)
            self._tokens = _Buffer.of((self._rows, model.context_length), torch.int64, device)
            self._vectors = _Buffer.of((self._rows, dimensions), torch.float32, device)
        places = self._pixels.here.numpy()
        self._places = places.reshape(self._rows, framing.height_px, framing.width_px, 3)
        self._found: Vectors = self._vectors.here.numpy()

    def encode_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Unit vectors, (n, embedding), of framed images, each uint8 (height, width, 3)."""
        vectors = np.empty((len(pixels), self._found.shape[1]), dtype=np.float32)
        for start, count in spans(len(pixels), self._rows):
            for place, image in zip(self._places, pixels[start : start + count], strict=False):
                if image.shape != place.shape:
                    raise RuntimeError(f"an image of {image.shape}, not of {place.shape}")
                place[...] = image
            with self._on_stream():
                self._pixels.send(0, count)
                self._run("images", count, self._compute_images)
                self._vectors.fetch(0, count)
            self._wait()
            vectors[start : start + count] = self._found[:count]
        return vectors

    def encode_captions(self, tokens: torch.Tensor) -> Vectors:
        """Unit vectors, (n, embedding), of token ids on the CPU, int64 (n, context_length)."""
        vectors = np.empty((len(tokens), self._found.shape[1]), dtype=np.float32)
        for start, count in spans(len(tokens), self._rows):
            part = tokens[start : start + count]
            buckets = self._passes.buckets(part)
            # Rows of a bucket lie together, in the order of the buckets.
            order = [row for _, rows in buckets for row in rows]
            torch.index_select(part, 0, torch.tensor(order), out=self._tokens.here[:count])
            with self._on_stream():
                done = 0
                for length, rows in buckets:
                    self._tokens.send(done, len(rows))
                    compute = partial(self._compute_captions, length)
                    self._run(f"captions of {length} tokens", len(rows), compute)
                    self._vectors.fetch(done, len(rows))
                    done += len(rows)
            self._wait()
            vectors[start + np.array(order)] = self._found[:count]
        return vectors

    def abandon(self) -> None:
        """Wait for what is under way, if the device still answers; nothing runs here again."""
        with suppress(RuntimeError):
            self._wait()

    def _compute_images(self, count: int) -> None:
        self._vectors.there[:count].copy_(self._passes.images(self._pixels.there[:count]))

    def _compute_captions(self, length: int, count: int) -> None:
        self._vectors.there[:count].copy_(self._passes.captions(self._tokens.there[:count], length))

    def _run(self, name: str, count: int, compute: Callable[[int], None]) -> None:
        if self._recordings is None:
            compute(count)
        else:
            self._recordings.run(name, count, compute)

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _wait(self) -> None:
        if self._stream is not None:
            self._done.record(self._stream)
            self._done.synchronize()


class Lanes:
    """As many lanes as batches run at once; each is lent to one thread at a time."""

    def __init__(self, open_lane: Callable[[], Lane]) -> None:
        self._open = open_lane
        self._lock = threading.Lock()
        self._idle: list[Lane] = []

    @contextmanager
    def one(self) -> Iterator[Lane]:
        """A lane for one batch; one in which something failed is not lent again."""
        with self._lock:
            # The last one given back: what it has recorded serves whoever comes.
            lane = self._idle.pop() if self._idle else None
        lane = lane or self._open()
        try:
            yield lane
        except BaseException:
            lane.abandon()
            raise
        with self._lock:
            self._idle.append(lane)
