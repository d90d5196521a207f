"""One engine a process: images and captions to cosines, in batches, each computed once."""

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from moderation.batching import Batcher
from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import Wanted, choose_precision
from moderation.scoring.shared_cache import SharedCache, SharedCacheAddress
from moderation.scoring.text import CaptionTokenizer, Tokens
from moderation.scoring.towers import Vectors
from moderation.settings import Settings
from moderation.types import Image, Note, PairScore, Pixels


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one forward pass did, and how long each image and caption was staged before it."""

    images: int
    captions: int
    forward_s: float
    forward_cpu_s: float
    waits_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and its tokens; None where its embedding was known."""

    key: Key
    text: str
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to embed: an image's pixels or a caption's token ids, one of the two."""

    key: Key
    notes: tuple[Note, ...]
    pixels: Pixels | None = None
    tokens: torch.Tensor | None = None
    staged_s: float = field(default_factory=time.perf_counter)


class Engine:
    """Scores pairs from many threads; a batch is what was staged during the ones before.

    On a CPU there is one lane a core, each with a batch and one thread of its own: lanes wait
    for nothing, where threads that share a batch wait for the slowest. On a GPU two lanes
    take turns, so that one batch is staged and copied while the other is computed.
    """

    def __init__(
        self,
        model: ClipModel,
        *,
        max_batch_items: int,
        precision: Wanted = "fp32",
        lanes: int = 0,
        cache_bytes: int = 2**26,
        shared_cache: SharedCacheAddress | None = None,
        on_batch: Callable[[BatchReport], None] = lambda report: None,
        on_embedding: Callable[[Kind, Source], None] = lambda kind, source: None,
    ) -> None:
        self.choice = choose_precision(model, precision)
        self._towers = self.choice.towers
        # Not the model as it was loaded, whose fp32 weights may be given back now.
        self.model = self._towers.model
        self._max_batch_items = max_batch_items
        # Other numbers give other vectors, a little.
        name = f"{model.fingerprint}-{self.choice.precision}"
        shared = shared_cache and SharedCache(shared_cache, name, self._towers.dimensions)
        self._cache = EmbeddingCache(max_bytes=cache_bytes, shared=shared or None)
        self._on_batch = on_batch
        self._on_embedding = on_embedding
        self._tokenizer = CaptionTokenizer(model.tokenizer, model.context_length)
        self._boarding = threading.Lock()
        self._in_flight: dict[tuple[Key, str], Future[Embedding]] = {}
        self._is_cpu = model.device.type == "cpu"
        self.lanes = lanes or (len(os.sched_getaffinity(0)) if self._is_cpu else 2)
        # A pair is an image and a caption.
        max_jobs = 2 * max_batch_items
        self._batcher: Batcher[_Job, Embedding] = Batcher(
            self._embed,
            max_items=max_jobs,
            name="captionguard-lane",
            threads=self.lanes,
            max_staged=2 * self.lanes * max_jobs,
        )

    def read_caption(self, caption: str) -> Caption:
        """Tokenize a caption, unless its embedding is known."""
        key = Key("text", hashlib.sha256(caption.encode()).hexdigest())
        if self._cache.get(key) is not None:
            return Caption(key, caption)
        return Caption(key, caption, self._tokenizer.tokenize(caption))

    def score(
        self, sha256: str, read: Callable[[], Image], caption: Caption | str, *, source: str = ""
    ) -> "Future[PairScore]":
        """Stage one pair, its image named by the SHA-256 of its file.

        `read` decodes the image, framed for this model, on the calling thread; it is called
        only where no equal image is known or under way. What it raises reaches all who wait
        for the same image from the same `source`: one's missing blob is no fault of another's
        file. Blocks while much is staged.
        """
        image = self._board(Key("image", sha256), partial(_read, read), source)
        if isinstance(caption, str):
            caption = self.read_caption(caption)
        text = self._board(caption.key, partial(self._job_of, caption))
        return _cosine_of(image, text)

    def close(self) -> None:
        """Finish what is staged and stop."""
        self._batcher.close()
        self._cache.close()

    def _board(
        self, key: Key, make: Callable[[Key], _Job], source: str = ""
    ) -> "Future[Embedding]":
        """The future embedding of `key`: known, under way, or now put on its way."""
        with self._boarding:
            if (known := self._cache.get(key)) is not None:
                self._on_embedding(key.kind, "memory")
                return _done(known)
            if (under_way := self._in_flight.get((key, source))) is not None:
                self._on_embedding(key.kind, "in_flight")
                return under_way
            promise: Future[Embedding] = Future()
            self._in_flight[key, source] = promise
        try:
            if (known := self._cache.fetch(key)) is not None:
                self._on_embedding(key.kind, "redis")
                self._land((key, source), promise, _done(known))
                return promise
            self._on_embedding(key.kind, "computed")
            staged = self._batcher.submit(make(key))
        except BaseException as error:
            failed: Future[Embedding] = Future()
            failed.set_exception(error)
            self._land((key, source), promise, failed)
            raise
        staged.add_done_callback(partial(self._land, (key, source), promise))
        return promise

    def _land(
        self, flight: tuple[Key, str], promise: "Future[Embedding]", landed: "Future[Embedding]"
    ) -> None:
        # What was computed is in the cache by now: nobody finds neither.
        with self._boarding:
            del self._in_flight[flight]
        _hand_on(landed, promise)

    def _job_of(self, caption: Caption, key: Key) -> _Job:
        # It may have left the cache since it was looked for.
        tokens = caption.tokens or self._tokenizer.tokenize(caption.text)
        notes = (Note.CAPTION_TRUNCATED,) if tokens.truncated else ()
        return _Job(key, notes, tokens=tokens.ids)

    def _embed(self, jobs: Sequence[_Job]) -> list[Embedding]:
        if self._is_cpu:
            # Holds for the calling thread: this lane.
            torch.set_num_threads(1)
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        images = [job for job in jobs if job.pixels is not None]
        captions = [job for job in jobs if job.tokens is not None]
        found: dict[Key, Embedding] = {}
        for chunk in _chunks(images, self._max_batch_items):
            vectors = self._towers.encode_images([j.pixels for j in chunk if j.pixels is not None])
            found |= _embeddings(chunk, vectors)
        for chunk in _chunks(captions, self._max_batch_items):
            vectors = self._towers.encode_captions(
                [j.tokens for j in chunk if j.tokens is not None]
            )
            found |= _embeddings(chunk, vectors)
        forward_s, forward_cpu_s = (
            time.perf_counter() - started_s,
            time.thread_time() - started_cpu_s,
        )
        # A fault of the device passes; kept, it would be a fault of the caption for ever.
        self._cache.put([(k, e) for k, e in found.items() if np.isfinite(e.vector).all()])
        self._on_batch(
            BatchReport(
                images=len(images),
                captions=len(captions),
                forward_s=forward_s,
                forward_cpu_s=forward_cpu_s,
                waits_s=tuple(started_s - job.staged_s for job in jobs),
            )
        )
        return [found[job.key] for job in jobs]


def open_engine(
    model: ClipModel,
    settings: Settings,
    *,
    on_batch: Callable[[BatchReport], None] = lambda report: None,
    on_embedding: Callable[[Kind, Source], None] = lambda kind, source: None,
) -> Engine:
    """An engine as an operator has set it."""
    url, ttl_s = settings.embedding_cache_url, settings.embedding_cache_ttl_s
    return Engine(
        model,
        max_batch_items=settings.max_batch_items,
        precision=settings.precision,
        lanes=settings.forward_lanes,
        cache_bytes=settings.embedding_cache_bytes,
        shared_cache=SharedCacheAddress(url.get_secret_value(), ttl_s) if url else None,
        on_batch=on_batch,
        on_embedding=on_embedding,
    )


def _read(read: Callable[[], Image], key: Key) -> _Job:
    image = read()
    return _Job(key, image.notes, pixels=image.pixels)


def _chunks(jobs: Sequence[_Job], size: int) -> list[Sequence[_Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def _embeddings(jobs: Sequence[_Job], vectors: Vectors) -> dict[Key, Embedding]:
    # A copy each: a row that is kept would keep all of its batch in memory.
    pairs = zip(jobs, vectors, strict=True)
    return {job.key: Embedding(vector.copy(), job.notes) for job, vector in pairs}


def _done(embedding: Embedding) -> "Future[Embedding]":
    future: Future[Embedding] = Future()
    future.set_result(embedding)
    return future


def _hand_on(settled: "Future[Embedding]", promise: "Future[Embedding]") -> None:
    error = settled.exception()
    if error is not None:
        promise.set_exception(error)
    else:
        promise.set_result(settled.result())


def _cosine_of(image: "Future[Embedding]", text: "Future[Embedding]") -> "Future[PairScore]":
    """The pair's score once both are there, or what kept one of them from it."""
    score: Future[PairScore] = Future()

    def finish(_: "Future[Embedding]") -> None:
        # One whose caller gave up: setting a cancelled future is an error.
        if not score.set_running_or_notify_cancel():
            return
        try:
            score.set_result(_score(image.result(), text.result()))
        # Whatever ended another thread's `read` must not leave this one waiting.
        except BaseException as error:
            score.set_exception(error)

    image.add_done_callback(lambda _: text.add_done_callback(finish))
    return score


def _score(image: Embedding, text: Embedding) -> PairScore:
    cosine = float(image.vector @ text.vector)
    # `min` and `max` would make it 1, a perfect match.
    if math.isnan(cosine):
        raise ArithmeticError("the model computed a vector that is not a number")
    # Rounding may leave a unit vector a little longer than one.
    return PairScore(max(-1.0, min(1.0, cosine)), image.notes + text.notes)
