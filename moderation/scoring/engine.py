"""One engine a process: images and captions to cosines, in batches, each computed once."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

import numpy as np
import torch

from moderation.batching import Stage
from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.scoring.flights import Answer, Flight, Flights, Outcome, Passenger
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import Wanted, choose_precision
from moderation.scoring.shared_cache import SharedCache, SharedCacheAddress
from moderation.scoring.text import CaptionTokenizer
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


# Not frozen: that would treble the time to make one.
@dataclass(slots=True, eq=False)
class Pair:
    """An image, named by the SHA-256 of its file, and a caption.

    What an image fails with reaches all who wait for the same image from the same `source`:
    one's missing blob is no fault of another's file.
    """

    sha256: str
    caption: str
    source: str = ""


class _Job(NamedTuple):
    """Something to embed: an image's pixels or a caption's token ids, one of the two."""

    flight: Flight
    notes: tuple[Note, ...]
    staged_s: float
    pixels: Pixels | None = None
    tokens: torch.Tensor | None = None


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
        on_embeddings: Callable[[Kind, Source, int], None] = lambda kind, source, count: None,
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
        self._flights = Flights(self._cache, on_embeddings)
        self._on_batch = on_batch
        self._tokenizer = CaptionTokenizer(model.tokenizer, model.context_length)
        self._is_cpu = model.device.type == "cpu"
        self.lanes = lanes or (len(os.sched_getaffinity(0)) if self._is_cpu else 2)
        # A pair is an image and a caption.
        max_jobs = 2 * max_batch_items
        self._stage: Stage[_Job] = Stage(
            self._work_off,
            max_items=max_jobs,
            name="captionguard-lane",
            threads=self.lanes,
            max_staged=2 * self.lanes * max_jobs,
        )

    def score(
        self, sha256: str, read: Callable[[], Image], caption: str, *, source: str = ""
    ) -> "Future[PairScore]":
        """Stage one pair; `read` decodes its image, as in `score_all`. Raises what that raises."""
        scored: Future[PairScore] = Future()

        def answer(told: Sequence[tuple[Pair, Outcome]]) -> None:
            _settle(scored, told[0][1])

        self.score_all([Pair(sha256, caption, source)], lambda _: [read()], answer)
        return scored

    def score_all(
        self,
        pairs: Sequence[Pair],
        read: Callable[[Sequence[int]], Sequence[Image | BaseException]],
        answer: Answer,
    ) -> None:
        """Stage pairs; `answer` is given each of them once, with its score or what kept it away.

        It is called on the threads that compute, with as many pairs as have been scored by then,
        also those of other calls that gave the same `answer`.

        `read` decodes images, framed for this model, on the calling thread: those of the pairs
        at the places that it is given, one for each image that is neither known nor under way.
        It returns, in order, the images or what they failed with; what it raises is raised here
        too, when those that it does not concern are staged. Whatever is raised here, each pair is
        answered by the engine, and by nobody else. Blocks while much is staged.
        """
        passengers = [Passenger(place, pair, answer) for place, pair in enumerate(pairs)]
        try:
            raised = self._board(pairs, passengers, read)
        except BaseException as error:
            self._flights.give_up(passengers, error)
            raise
        if raised is not None:
            raise raised

    def _board(
        self,
        pairs: Sequence[Pair],
        passengers: Sequence[Passenger],
        read: Callable[[Sequence[int]], Sequence[Image | BaseException]],
    ) -> BaseException | None:
        """Stage what is neither known nor under way; what `read` raised, if it did."""
        images = self._flights.board(
            [
                (Key("image", pair.sha256), pair.source, passenger)
                for pair, passenger in zip(pairs, passengers, strict=True)
            ]
        )
        jobs, failed, raised = _read(images, read) if images else ([], [], None)
        self._flights.land(failed)
        captions: list[Flight] = []
        try:
            # Not the caption of an image that has failed: nobody needs it.
            captions = self._flights.board(
                [
                    (_key_of(pairs[passenger.place].caption), "", passenger)
                    for passenger in passengers
                    if passenger.fault is None
                ]
            )
            for flight in captions:
                try:
                    jobs.append(self._job_of(flight, pairs[flight.began_at].caption))
                except Exception as error:
                    # What a tokenizer cannot read is no fault of its neighbours.
                    self._flights.land([(flight, error)])
            self._stage.submit(jobs)
        except BaseException as error:
            self._flights.land([(f, error) for f in (*captions, *(job.flight for job in jobs))])
            raise
        return raised

    def close(self) -> None:
        """Finish what is staged and stop."""
        self._stage.close()
        self._cache.close()

    def _job_of(self, flight: Flight, caption: str) -> _Job:
        tokens = self._tokenizer.tokenize(caption)
        notes = (Note.CAPTION_TRUNCATED,) if tokens.truncated else ()
        return _Job(flight, notes, time.perf_counter(), tokens=tokens.ids)

    def _work_off(self, jobs: Sequence[_Job]) -> None:
        try:
            embedded = self._embed(jobs)
        except BaseException as error:
            self._flights.land([(job.flight, error) for job in jobs])
            return
        # What was computed is in the cache by now: nobody finds neither.
        self._flights.land(embedded)

    def _embed(self, jobs: Sequence[_Job]) -> list[tuple[Flight, Embedding]]:
        if self._is_cpu:
            # Holds for the calling thread: this lane.
            torch.set_num_threads(1)
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        images = [job for job in jobs if job.pixels is not None]
        captions = [job for job in jobs if job.tokens is not None]
        embedded: list[tuple[Flight, Embedding]] = []
        are_numbers: list[bool] = []
        for chunk in _chunks(images, self._max_batch_items):
            vectors = self._towers.encode_images([j.pixels for j in chunk if j.pixels is not None])
            embedded += _embeddings(chunk, vectors)
            are_numbers += np.isfinite(vectors.sum(axis=1)).tolist()
        for chunk in _chunks(captions, self._max_batch_items):
            vectors = self._towers.encode_captions(
                [j.tokens for j in chunk if j.tokens is not None]
            )
            embedded += _embeddings(chunk, vectors)
            are_numbers += np.isfinite(vectors.sum(axis=1)).tolist()
        forward_s, forward_cpu_s = (
            time.perf_counter() - started_s,
            time.thread_time() - started_cpu_s,
        )
        # A fault of the device passes; kept, it would be a fault of the caption for ever.
        sound = compress(embedded, are_numbers)
        self._cache.put([(flight.key, embedding) for flight, embedding in sound])
        self._on_batch(
            BatchReport(
                images=len(images),
                captions=len(captions),
                forward_s=forward_s,
                forward_cpu_s=forward_cpu_s,
                waits_s=tuple(started_s - job.staged_s for job in jobs),
            )
        )
        return embedded


def open_engine(
    model: ClipModel,
    settings: Settings,
    *,
    on_batch: Callable[[BatchReport], None] = lambda report: None,
    on_embeddings: Callable[[Kind, Source, int], None] = lambda kind, source, count: None,
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
        on_embeddings=on_embeddings,
    )


def _key_of(caption: str) -> Key:
    return Key("text", hashlib.sha256(caption.encode()).hexdigest())


def _settle(scored: "Future[PairScore]", outcome: Outcome) -> None:
    # One whose caller gave up: setting a cancelled future is an error.
    if not scored.set_running_or_notify_cancel():
        return
    if isinstance(outcome, PairScore):
        scored.set_result(outcome)
    else:
        scored.set_exception(outcome)


def _chunks(jobs: Sequence[_Job], size: int) -> list[Sequence[_Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def _embeddings(jobs: Sequence[_Job], vectors: Vectors) -> list[tuple[Flight, Embedding]]:
    # A copy each: a row that is kept would keep all of its batch in memory.
    pairs = zip(jobs, vectors, strict=True)
    return [(job.flight, Embedding(vector.copy(), job.notes)) for job, vector in pairs]


def _read(
    flights: Sequence[Flight], read: Callable[[Sequence[int]], Sequence[Image | BaseException]]
) -> tuple[list[_Job], list[tuple[Flight, BaseException]], BaseException | None]:
    """What can be staged of new flights of images, what has failed, and what `read` raised."""
    raised: BaseException | None = None
    outcomes: Sequence[Image | BaseException]
    try:
        outcomes = read([flight.began_at for flight in flights])
        if len(outcomes) != len(flights):
            raise RuntimeError(f"{len(outcomes)} images for {len(flights)} files")
    except BaseException as error:
        raised, outcomes = error, [error] * len(flights)
    jobs: list[_Job] = []
    failed: list[tuple[Flight, BaseException]] = []
    staged_s = time.perf_counter()
    for flight, outcome in zip(flights, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            failed.append((flight, outcome))
        else:
            jobs.append(_Job(flight, outcome.notes, staged_s, pixels=outcome.pixels))
    return jobs, failed, raised
