"""From claimed submissions to staged pairs: captions, fetching, decoding, into the engine."""

import contextlib
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from moderation.batching import Stage
from moderation.captions import NO_WORD, caption_fault
from moderation.errors import Unscorable
from moderation.media.decode import DecoderPool
from moderation.media.fetch import open_fetcher
from moderation.media.files import ImageFile
from moderation.scoring.engine import Engine, Pair
from moderation.scoring.flights import Outcome
from moderation.types import Image, Reason, Submission
from moderation.wiring import Services
from workers.journey import Journey
from workers.kept import KeptFiles

# What a thread does for many costs less each: woken between forward passes, it finds the CPU's
# caches full of weights.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair(Pair):
    """The pair of a journey: the engine keeps it until it has a score."""

    journey: Journey


@dataclass(frozen=True, slots=True)
class _Ready:
    """What can be staged; `data` is its image's file where that was fetched.

    Beside the pair, so that no file is kept longer than until it is decoded.
    """

    pair: _Pair
    data: bytes | None = None


class Preparation:
    """Has journeys scored: reads captions, fetches and decodes images, stages the pairs.

    Images of a network are waited for one a thread. Those on a disk are taken many at a time,
    whatever messages they came with, by one thread a decoder.
    """

    def __init__(
        self,
        services: Services,
        decoder: DecoderPool,
        engine: Engine,
        on_outcomes: Callable[[Sequence[Journey]], object],
    ) -> None:
        settings = services.settings
        self._services = services
        self._metrics = services.metrics
        self._decoder = decoder
        self._engine = engine
        self._on_outcomes = on_outcomes
        self.kept = KeptFiles()
        self._fetcher = open_fetcher(settings)
        self._fetching = ThreadPoolExecutor(settings.fetch_threads, "captionguard-fetch")
        self._decoding: Stage[Journey] = Stage(
            self._prepare,
            max_items=max(decoder.at_once, _AT_ONCE),
            name="captionguard-decode",
            threads=decoder.threads,
            # Journeys are in memory anyway: it is their pixels that the engine bounds.
            max_staged=sys.maxsize,
        )

    def begin(self, journeys: Sequence[Journey]) -> None:
        """Have each journey handed to `on_outcomes`, with a score or with what kept it from one."""
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
            self._end([(journey, error) for journey in journeys])
            return
        # Of what it raises the engine tells whoever waits: told twice, a journey would be
        # judged twice.
        with contextlib.suppress(BaseException):
            self._engine.score_all(
                [each.pair for each in ready],
                lambda places: self._read([ready[p] for p in places]),
                self._scored,
            )

    def _scored(self, told: Sequence[tuple[_Pair, Outcome]]) -> None:
        self._end([(pair.journey, outcome) for pair, outcome in told])

    def _end(self, outcomes: Sequence[tuple[Journey, Outcome]]) -> None:
        for journey, outcome in outcomes:
            journey.outcome = outcome
        self._on_outcomes([journey for journey, _ in outcomes])

    def _ready(self, journeys: Sequence[Journey]) -> list[_Ready]:
        now = datetime.now(UTC)
        for journey in journeys:
            waited_s = max(0.0, (now - journey.submission.created_at).total_seconds())
            journey.stages_s["queue_wait"] = waited_s
        self._observe("queue_wait", journeys)
        ready: list[_Ready] = []
        failed: list[tuple[Journey, Outcome]] = []
        for journey in journeys:
            try:
                self._check(journey.submission)
                ready.append(self._named(journey))
            except BaseException as error:
                failed.append((journey, error))
        if failed:
            self._end(failed)
        return ready

    def _check(self, submission: Submission) -> None:
        """Raise `Unscorable` before anything is fetched in vain."""
        deaths = submission.attempts - submission.faults - 1
        if deaths >= self._services.settings.max_attempts:
            raise Unscorable(Reason.SCORING_FAILED, f"{deaths} workers died while they had it")
        if fault := caption_fault(submission.caption):
            raise Unscorable(fault, NO_WORD)

    def _named(self, journey: Journey) -> _Ready:
        submission = journey.submission
        if submission.image.url is None:
            # A blob's key is its content's name, so that a known one is not even fetched.
            name = submission.image.blob or ""
            return _Ready(_Pair(name, submission.caption, "blob", journey=journey))
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        try:
            data = self._fetcher.fetch(submission.image.url)
        finally:
            journey.stages_s["fetch"] = time.perf_counter() - started_s
            self._observe("fetch", [journey])
            self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        self.kept.keep(submission.id, data)
        name = hashlib.sha256(data).hexdigest()
        return _Ready(_Pair(name, submission.caption, "url", journey=journey), data)

    def _observe(self, stage: str, journeys: Sequence[Journey]) -> None:
        self._metrics.stages[stage].observe_all([j.stages_s[stage] for j in journeys])

    def _read(self, ready: Sequence[_Ready]) -> list[Image | BaseException]:
        """Decode images; one that cannot be opened or decoded keeps none of the others."""
        outcomes: dict[int, Image | BaseException] = {}
        files, decoded = self._open(ready, outcomes)
        started_cpu_s = time.thread_time()
        answers = self._decoder.decode_all(files)
        self._metrics.stages_cpu["decode"].inc(time.thread_time() - started_cpu_s)
        for place, answer in zip(decoded, answers, strict=True):
            outcomes[place] = answer.outcome
            ready[place].pair.journey.stages_s["decode"] = answer.took_s
        self._observe("decode", [ready[place].pair.journey for place in decoded])
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
                files.append(self._file(each))
                opened.append(place)
            except Exception as error:
                outcomes[place] = error
            # What came from a URL has been fetched before.
            each.pair.journey.stages_s.setdefault("fetch", time.perf_counter() - started_s)
        blobs = [each.pair.journey for each in ready if each.pair.source == "blob"]
        self._observe("fetch", blobs)
        self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        return files, opened

    def _file(self, ready: _Ready) -> ImageFile:
        if ready.data is None:
            return self._services.blobs.open(ready.pair.sha256)
        return ImageFile.of(ready.data)
