"""Scores pairs of a file with a model, through the same stages as a worker."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.text import Text

from moderation.captions import NO_WORD, caption_fault
from moderation.client import read_image
from moderation.console import people
from moderation.errors import InputRefused, TemporaryFault, Unscorable
from moderation.media.decode import open_decoder
from moderation.media.fetch import Fetcher
from moderation.scoring.engine import open_engine
from moderation.scoring.model import ClipModel
from moderation.settings import Settings
from moderation.types import PairScore
from thresholds.pairs import Pair
from thresholds.scored import KeptCosines

# The SHA-256 of a pair's image, and its score once both towers have seen it.
Staged = Future[tuple[str, Future[PairScore]]]


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair, its image's SHA-256, and its cosine."""

    pair: Pair
    sha256: str
    cosine: float


@dataclass(frozen=True, slots=True)
class RefusedPair:
    """A pair that cannot be scored, and why."""

    pair: Pair
    problem: str


class PairScorer:
    """Scores pairs and keeps their cosines beside the labels; a context manager.

    Few images are in memory at a time, however many pairs there are.
    """

    def __init__(self, model: ClipModel, settings: Settings, labels: Path) -> None:
        self._settings = settings
        self._engine = open_engine(model, settings)
        self._decoder = open_decoder(model.framing, settings)
        self._fetcher = Fetcher(
            max_bytes=settings.max_image_bytes,
            timeout_s=settings.fetch_timeout_s,
            max_redirects=settings.fetch_redirects,
            allow_private=settings.fetch_allow_private,
        )
        self._kept = KeptCosines.beside(
            labels, fingerprint=model.fingerprint, precision=self._engine.choice.precision
        )
        self._threads = ThreadPoolExecutor(settings.fetch_threads, "captionguard-pairs")
        # Enough for every lane's batch and the one after it.
        self._at_once = 2 * self._engine.lanes * settings.max_batch_items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.close()
        self._decoder.close()
        self._fetcher.close()
        if kind is KeyboardInterrupt and self._kept.is_kept:
            people.print(
                Text(
                    f"Stopped. {len(self._kept)} cosines are kept in {self._kept.path.name}: the "
                    "same command goes on from there."
                )
            )
        self._kept.close()

    def score(self, pairs: Iterable[Pair]) -> Iterator[ScoredPair | RefusedPair]:
        """Score pairs, in their order."""
        window: deque[tuple[Pair, Staged]] = deque()
        for pair in pairs:
            while window and (len(window) == self._at_once or _is_done(window[0][1])):
                yield _result(*window.popleft())
            window.append((pair, self._threads.submit(self._stage, pair)))
        while window:
            yield _result(*window.popleft())

    def _stage(self, pair: Pair) -> tuple[str, "Future[PairScore]"]:
        """Read and decode a pair, unless its cosine is known. Raises what is wrong with it."""
        if fault := caption_fault(pair.caption):
            raise Unscorable(fault, NO_WORD)
        if len(pair.caption) > self._settings.max_caption_chars:
            raise InputRefused(
                f"the caption has {len(pair.caption)} characters; "
                f"{self._settings.max_caption_chars} are taken at most"
            )
        data = self._read(pair.image) if pair.sha256 is None else None
        sha256 = pair.sha256 or hashlib.sha256(data or b"").hexdigest()
        known = self._kept.get(sha256, pair.caption)
        if known is not None:
            score: Future[PairScore] = Future()
            score.set_result(PairScore(known))
            return sha256, score
        score = self._engine.score(
            sha256,
            lambda: self._decoder.decode(
                self._read(pair.image) if data is None else data, sha256=sha256
            ),
            pair.caption,
        )
        # At once and not in the order of the file: a run that is stopped loses nothing.
        score.add_done_callback(partial(self._keep, sha256, pair.caption))
        return sha256, score

    def _keep(self, sha256: str, caption: str, score: "Future[PairScore]") -> None:
        if not score.cancelled() and score.exception() is None:
            self._kept.add(sha256, caption, score.result().cosine)

    def _read(self, image: str) -> bytes:
        if image.startswith(("http://", "https://")):
            return self._fetcher.fetch(image)
        return read_image(Path(image), self._settings)


def _is_done(staged: Staged) -> bool:
    return staged.done() and (staged.exception() is not None or staged.result()[1].done())


def _result(pair: Pair, staged: Staged) -> ScoredPair | RefusedPair:
    try:
        sha256, score = staged.result()
        return ScoredPair(pair, sha256, score.result().cosine)
    except (Unscorable, TemporaryFault) as error:
        return RefusedPair(pair, f"{Path(pair.image).name}: {error.detail}")
    except (InputRefused, ArithmeticError) as error:
        return RefusedPair(pair, str(error))
