"""From claimed submissions to staged pairs: captions, fetching, decoding, into the engine."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from moderation.captions import NO_WORD, caption_fault
from moderation.errors import TemporaryFault, Unscorable
from moderation.scoring.engine import Caption
from moderation.types import Image, PairScore, Reason, Submission, Verdict
from workers.runtime import Runtime

T = TypeVar("T")

# Captions are read so many at a time: one by one between images, each finds the CPU's caches
# full of weights and takes four times as long.
_CHUNK = 16


@dataclass(slots=True)
class Journey:
    """How one submission fares, for its log line; times in seconds."""

    submission: Submission
    started_s: float = field(default_factory=time.perf_counter)
    stages_s: dict[str, float] = field(default_factory=dict)
    scored: "Future[PairScore]" = field(default_factory=Future)
    fault: TemporaryFault | None = None
    verdict: Verdict | None = None


def prepare(runtime: Runtime, journeys: Sequence[Journey]) -> None:
    """Have each journey `scored`: with a cosine, or with what kept it from one.

    Images of a network are waited for one a thread; those on a disk keep the decoders busy.
    """
    is_local = runtime.services.blobs.is_local
    near = [j for j in journeys if is_local and j.submission.image.url is None]
    for chunk in _chunks(near):
        runtime.decoding.submit(_prepare, runtime, chunk)
    for journey in journeys:
        if not is_local or journey.submission.image.url is not None:
            runtime.fetching.submit(_prepare, runtime, [journey])


def _chunks(journeys: Sequence[Journey]) -> Iterator[Sequence[Journey]]:
    for start in range(0, len(journeys), _CHUNK):
        yield journeys[start : start + _CHUNK]


def _prepare(runtime: Runtime, journeys: Sequence[Journey]) -> None:
    captions = [_tried(journey, partial(_caption, runtime, journey)) for journey in journeys]
    for journey, caption in zip(journeys, captions, strict=True):
        if caption is None:
            continue
        staged = _tried(journey, partial(_stage, runtime, journey, caption))
        if staged is not None:
            staged.add_done_callback(partial(_settle, journey))


def _tried(journey: Journey, action: Callable[[], T]) -> T | None:
    """What an action gives, or None: then whoever waits for the journey has its exception."""
    try:
        return action()
    except BaseException as error:
        journey.scored.set_exception(error)
        return None


def _settle(journey: Journey, staged: "Future[PairScore]") -> None:
    error = staged.exception()
    if error is not None:
        journey.scored.set_exception(error)
    else:
        journey.scored.set_result(staged.result())


def _caption(runtime: Runtime, journey: Journey) -> Caption:
    """Read a journey's caption; raises `Unscorable` before anything is fetched in vain."""
    submission, settings = journey.submission, runtime.services.settings
    waited_s = max(0.0, (datetime.now(UTC) - submission.created_at).total_seconds())
    runtime.services.metrics.stages["queue_wait"].observe(waited_s)
    journey.stages_s["queue_wait"] = waited_s
    deaths = submission.attempts - submission.faults - 1
    if deaths >= settings.max_attempts:
        raise Unscorable(Reason.SCORING_FAILED, f"{deaths} workers died while they had it")
    if fault := caption_fault(submission.caption):
        raise Unscorable(fault, NO_WORD)
    return runtime.scorer.engine.read_caption(submission.caption)


def _stage(runtime: Runtime, journey: Journey, caption: Caption) -> "Future[PairScore]":
    image = journey.submission.image
    if image.url is None:
        # A blob's key is its content's name, so that a known one is not even fetched.
        name = image.blob or ""
        source, read = "blob", partial(_read_blob, runtime, journey, name)
    else:
        fetch = partial(runtime.fetcher.fetch, image.url)
        data: bytes = _timed(runtime, journey, "fetch", fetch)
        name = hashlib.sha256(data).hexdigest()
        source, read = "url", partial(_decode, runtime, journey, data)
    return runtime.scorer.engine.score(name, read, caption, source=source)


def _read_blob(runtime: Runtime, journey: Journey, key: str) -> Image:
    data: bytes = _timed(runtime, journey, "fetch", partial(runtime.services.blobs.get, key))
    return _decode(runtime, journey, data, sha256=key)


def _decode(runtime: Runtime, journey: Journey, data: bytes, *, sha256: str | None = None) -> Image:
    decode = partial(runtime.scorer.decoder.decode, data, sha256=sha256)
    image: Image = _timed(runtime, journey, "decode", decode)
    return image


def _timed(runtime: Runtime, journey: Journey, stage: str, action: Any) -> Any:
    metrics = runtime.services.metrics
    started_s, started_cpu_s = time.perf_counter(), time.thread_time()
    try:
        return action()
    finally:
        journey.stages_s[stage] = time.perf_counter() - started_s
        metrics.stages[stage].observe(journey.stages_s[stage])
        metrics.stages_cpu[stage].inc(time.thread_time() - started_cpu_s)
