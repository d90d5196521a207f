"""From claimed submissions to staged pairs: captions, fetching, decoding, into the engine."""

import contextlib
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from moderation.batching import Stage
from moderation.captions import NO_WORD, caption_fault
from moderation.errors import TemporaryFault, Unscorable
from moderation.media.decode import DecoderPool
from moderation.media.fetch import open_fetcher
from moderation.media.files import ImageFile
from moderation.media.wire import MAX_IMAGES
from moderation.scoring.engine import Caption, Engine, Pair
from moderation.types import Image, PairScore, Reason, Submission, Verdict
from moderation.wiring import Services
from workers.kept import KeptFiles


@dataclass(slots=True)
class Journey:
    """How one submission fares, for its log line; times in seconds."""

    submission: Submission
    started_s: float = field(default_factory=time.perf_counter)
    stages_s: dict[str, float] = field(default_factory=dict)
    scored: "Future[PairScore]" = field(default_factory=Future)
    fault: TemporaryFault | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A journey whose image has a name, the SHA-256 of its file, and can be opened."""

    journey: Journey
    caption: Caption
    sha256: str
    source: str
    open: Callable[[], ImageFile]


class Preparation:
    """Has journeys scored: reads captions, fetches and decodes images, stages the pairs.

    Images of a network are waited for one a thread. Those on a disk are taken many at a time,
    whatever messages they came with, by one thread a decoder: done one by one between forward
    passes, each finds the CPU's caches full of weights and costs four times as much.
    """

    def __init__(self, services: Services, decoder: DecoderPool, engine: Engine) -> None:
        settings = services.settings
        self._services = services
        self._metrics = services.metrics
        self._decoder = decoder
        self._engine = engine
        self.kept = KeptFiles()
        self._fetcher = open_fetcher(settings)
        self._fetching = ThreadPoolExecutor(settings.fetch_threads, "captionguard-fetch")
        self._decoding: Stage[Journey] = Stage(
            self._prepare,
            max_items=MAX_IMAGES,
            name="captionguard-decode",
            threads=decoder.processes,
            # Journeys are in memory anyway: it is their pixels that the engine bounds.
            max_staged=sys.maxsize,
        )

    def begin(self, journeys: Sequence[Journey]) -> None:
        """Have each journey `scored`: with a cosine, or with what kept it from one."""
        is_local = self._services.blobs.is_local
        near = [j for j in journeys if is_local and j.submission.image.url is None]
        self._decoding.submit(near)
        if len(near) < len(journeys):
            for journey in journeys:
                if not is_local or journey.submission.image.url is not None:
                    self._fetching.submit(self._prepare, [journey])

    def close(self) -> None:
        """Finish what is under way, then let everything go."""
        self._fetching.shutdown(wait=True)
        self._decoding.close()
        self._fetcher.close()

    def _prepare(self, journeys: Sequence[Journey]) -> None:
        try:
            ready = self._ready(journeys)
        except BaseException as error:
            # Whoever waits for a journey must learn of it, or would wait for ever.
            for journey in journeys:
                if not journey.scored.done():
                    journey.scored.set_exception(error)
            return
        # Of what it raises the engine tells whoever waits: settled twice, a journey would end
        # the lane that comes second.
        with contextlib.suppress(BaseException):
            self._stage(ready)

    def _ready(self, journeys: Sequence[Journey]) -> list[_Ready]:
        now = datetime.now(UTC)
        for journey in journeys:
            waited_s = max(0.0, (now - journey.submission.created_at).total_seconds())
            journey.stages_s["queue_wait"] = waited_s
        self._observe("queue_wait", journeys)
        found: list[_Ready] = []
        for journey in journeys:
            try:
                found.append(self._named(journey, self._caption(journey.submission)))
            except BaseException as error:
                journey.scored.set_exception(error)
        return found

    def _caption(self, submission: Submission) -> Caption:
        """Read a caption; raises `Unscorable` before anything is fetched in vain."""
        deaths = submission.attempts - submission.faults - 1
        if deaths >= self._services.settings.max_attempts:
            raise Unscorable(Reason.SCORING_FAILED, f"{deaths} workers died while they had it")
        if fault := caption_fault(submission.caption):
            raise Unscorable(fault, NO_WORD)
        return self._engine.read_caption(submission.caption)

    def _named(self, journey: Journey, caption: Caption) -> _Ready:
        image = journey.submission.image
        if image.url is None:
            # A blob's key is its content's name, so that a known one is not even fetched.
            key = image.blob or ""
            return _Ready(journey, caption, key, "blob", partial(self._services.blobs.open, key))
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        try:
            data = self._fetcher.fetch(image.url)
        finally:
            journey.stages_s["fetch"] = time.perf_counter() - started_s
            self._observe("fetch", [journey])
            self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        self.kept.keep(journey.submission.id, data)
        name = hashlib.sha256(data).hexdigest()
        return _Ready(journey, caption, name, "url", partial(ImageFile.of, data))

    def _observe(self, stage: str, journeys: Sequence[Journey]) -> None:
        for journey in journeys:
            self._metrics.stages[stage].observe(journey.stages_s[stage])

    def _stage(self, ready: Sequence[_Ready]) -> None:
        pairs = [Pair(r.sha256, r.caption, r.source, r.journey.scored) for r in ready]
        self._engine.score_all(pairs, lambda places: self._read([ready[p] for p in places]))

    def _read(self, ready: Sequence[_Ready]) -> list[Image | BaseException]:
        """Decode images; one that cannot be opened or decoded keeps none of the others."""
        outcomes: dict[int, Image | BaseException] = {}
        files, decoded = self._open(ready, outcomes)
        started_cpu_s = time.thread_time()
        answers = self._decoder.decode_all(files)
        self._metrics.stages_cpu["decode"].inc(time.thread_time() - started_cpu_s)
        for place, answer in zip(decoded, answers, strict=True):
            outcomes[place] = answer.outcome
            ready[place].journey.stages_s["decode"] = answer.took_s
        self._observe("decode", [ready[place].journey for place in decoded])
        return [outcomes[place] for place in range(len(ready))]

    def _open(
        self, ready: Sequence[_Ready], outcomes: dict[int, Image | BaseException]
    ) -> tuple[list[ImageFile], list[int]]:
        """Open what can be opened, and where each stood; what cannot is among the outcomes."""
        files: list[ImageFile] = []
        opened: list[int] = []
        started_cpu_s = time.thread_time()
        for place, each in enumerate(ready):
            started_s = time.perf_counter()
            try:
                files.append(each.open())
                opened.append(place)
            except Exception as error:
                outcomes[place] = error
            # What came from a URL has been fetched before.
            each.journey.stages_s.setdefault("fetch", time.perf_counter() - started_s)
        self._observe("fetch", [each.journey for each in ready if each.source == "blob"])
        self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        return files, opened
