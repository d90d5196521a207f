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


@dataclass(slots=True, eq=False, kw_only=True)
class _Pair(Pair):
    """The pair of a journey: the engine keeps it until it has a score."""

    journey: Journey


# Files that were fetched and are to be decoded, by their SHA-256. Beside the pairs, so that none
# is kept longer than until then.
_Fetched = dict[str, bytes]


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
        near: list[Journey] = []
        far: list[Journey] = []
        is_disk = self._services.blobs.is_local
        for journey in journeys:
            (near if is_disk and journey.submission.image.url is None else far).append(journey)
        self._decoding.submit(near)
        for journey in far:
            self._fetching.submit(self._prepare, [journey])

    def close(self) -> None:
        """Finish what is under way, then let everything go."""
        self._fetching.shutdown(wait=True)
        self._decoding.close()
        self._fetcher.close()

    def _prepare(self, journeys: Sequence[Journey]) -> None:
        fetched: _Fetched = {}
        try:
            pairs = self._pairs(journeys, fetched)
        except BaseException as error:
            # Whoever waits for a journey must learn of it, or would wait for ever.
            self._end([(journey, error) for journey in journeys])
            return
        # Of what it raises the engine tells whoever waits: told twice, a journey would be
        # judged twice.
        with contextlib.suppress(BaseException):
            self._engine.score_all(
                pairs, lambda places: self._read([pairs[p] for p in places], fetched), self._scored
            )

    def _scored(self, told: Sequence[tuple[_Pair, Outcome]]) -> None:
        self._end([(pair.journey, outcome) for pair, outcome in told])

    def _end(self, outcomes: Sequence[tuple[Journey, Outcome]]) -> None:
        for journey, outcome in outcomes:
            journey.outcome = outcome
        self._on_outcomes([journey for journey, _ in outcomes])

    def _pairs(self, journeys: Sequence[Journey], fetched: _Fetched) -> list[_Pair]:
        now = datetime.now(UTC)
        for journey in journeys:
            waited_s = max(0.0, (now - journey.submission.created_at).total_seconds())
            journey.stages_s["queue_wait"] = waited_s
        self._observe("queue_wait", journeys)
        pairs: list[_Pair] = []
        failed: list[tuple[Journey, Outcome]] = []
        for journey in journeys:
            try:
                self._check(journey.submission)
                pairs.append(self._named(journey, fetched))
            except BaseException as error:
                failed.append((journey, error))
        if failed:
            self._end(failed)
        return pairs

    def _check(self, submission: Submission) -> None:
        """Raise `Unscorable` before anything is fetched in vain."""
        deaths = submission.attempts - submission.faults - 1
        if deaths >= self._services.settings.max_attempts:
            raise Unscorable(Reason.SCORING_FAILED, f"{deaths} workers died while they had it")
        if fault := caption_fault(submission.caption):
            raise Unscorable(fault, NO_WORD)

    def _named(self, journey: Journey, fetched: _Fetched) -> _Pair:
        submission = journey.submission
        if submission.image.url is None:
            # A blob's key is its content's name, so that a known one is not even fetched.
            name = submission.image.blob or ""
            return _Pair(name, submission.caption, "blob", journey=journey)
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        try:
            data = self._fetcher.fetch(submission.image.url)
        finally:
            journey.stages_s["fetch"] = time.perf_counter() - started_s
            self._observe("fetch", [journey])
            self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        self.kept.keep(submission.id, data)
        name = hashlib.sha256(data).hexdigest()
        fetched[name] = data
        return _Pair(name, submission.caption, "url", journey=journey)

    def _observe(self, stage: str, journeys: Sequence[Journey]) -> None:
        self._metrics.stages[stage].observe_all([j.stages_s[stage] for j in journeys])

    def _read(self, pairs: Sequence[_Pair], fetched: _Fetched) -> list[Image | BaseException]:
        """Decode images; one that cannot be opened or decoded keeps none of the others."""
        outcomes: dict[int, Image | BaseException] = {}
        files, decoded = self._open(pairs, fetched, outcomes)
        started_cpu_s = time.thread_time()
        answers = self._decoder.decode_all(files)
        self._metrics.stages_cpu["decode"].inc(time.thread_time() - started_cpu_s)
        for place, answer in zip(decoded, answers, strict=True):
            outcomes[place] = answer.outcome
            pairs[place].journey.stages_s["decode"] = answer.took_s
        self._observe("decode", [pairs[place].journey for place in decoded])
        return [outcomes[place] for place in range(len(pairs))]

    def _open(
        self, pairs: Sequence[_Pair], fetched: _Fetched, outcomes: dict[int, Image | BaseException]
    ) -> tuple[list[ImageFile], list[int]]:
        """Open what can be opened, and where each stood; what cannot is among the outcomes."""
        files: list[ImageFile] = []
        opened: list[int] = []
        started_cpu_s = time.thread_time()
        for place, pair in enumerate(pairs):
            started_s = time.perf_counter()
            try:
                files.append(self._file(pair, fetched))
                opened.append(place)
            except Exception as error:
                outcomes[place] = error
            # What came from a URL has been fetched before.
            pair.journey.stages_s.setdefault("fetch", time.perf_counter() - started_s)
        self._observe("fetch", [pair.journey for pair in pairs if pair.source == "blob"])
        self._metrics.stages_cpu["fetch"].inc(time.thread_time() - started_cpu_s)
        return files, opened

    def _file(self, pair: _Pair, fetched: _Fetched) -> ImageFile:
        if pair.source == "blob":
            return self._services.blobs.open(pair.sha256)
        return ImageFile.of(fetched.pop(pair.sha256))
