"""Engines on the tiny model, with images and captions whose stock cosines are known."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.types import Image
from tests.unit.scoring.stock import stock_captions, stock_images
from tests.unit.threads import PATIENCE_S

TOLERANCE = 1e-5


IMAGES = [
    *np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
    np.zeros((32, 32, 3), dtype=np.uint8),
    np.full((32, 32, 3), 255, dtype=np.uint8),
]


CAPTIONS = [
    "a dog on the beach",
    "two red dogs",
    "犬",
    "😀",
    "",
    "a caption of many more words than the twelve places of this model could ever take in",
]


PAIRS = st.tuples(st.integers(0, len(IMAGES) - 1), st.integers(0, len(CAPTIONS) - 1))


class Reads:
    """Decodes images, and counts how often each was."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def of(self, number: int) -> Callable[[], Image]:
        """What reads this image."""

        def read() -> Image:
            with self._lock:
                self.counts[number] += 1
            return Image(IMAGES[number].copy())

        return read


@contextmanager
def opened(model: ClipModel, **options: Any) -> Iterator[Engine]:
    """An engine of two lanes, if not said otherwise."""
    engine = Engine(model, **{"max_batch_items": 64, "lanes": 2, **options})
    try:
        yield engine
    finally:
        engine.close()


CACHES = {"none": 0, "tiny": 2_500, "large": 2**26}


def text_of(pair: tuple[int, int]) -> str:
    """The caption of a pair of numbers."""
    return CAPTIONS[pair[1]]


class Gate:
    """Holds the lanes after their first batch, before anybody gets a result of it."""

    def __init__(self) -> None:
        self.reports: list[BatchReport] = []
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, report: BatchReport) -> None:
        """Wait after a batch until it may go on."""
        self.reports.append(report)
        self.reached.set()
        assert self.go_on.wait(PATIENCE_S)


@contextmanager
def held(model: ClipModel, gate: Gate, **options: Any) -> Iterator[Engine]:
    """An engine whose lanes the gate holds, until the end at the latest."""
    with opened(model, on_batch=gate, **options) as engine:
        try:
            yield engine
        finally:
            gate.go_on.set()


def stock_cosines(model: ClipModel) -> torch.Tensor:
    """The cosines of all images and captions by open_clip alone: (images, captions)."""
    return stock_images(model, IMAGES) @ stock_captions(model, CAPTIONS).T
