"""Equal images and captions are computed once, and what fails for one fails for no other."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from moderation.errors import Unscorable
from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.scoring.clones import clone
from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.scoring.towers import Towers
from moderation.types import Image, Note, Reason
from tests.conftest import eventually
from tests.unit.scoring.engines import (
    CACHES,
    CAPTIONS,
    IMAGES,
    TOLERANCE,
    Gate,
    Reads,
    held,
    opened,
    stock_cosines,
)
from tests.unit.threads import PATIENCE_S, all_at_once


@pytest.fixture(scope="module")
def stock(model: ClipModel) -> torch.Tensor:
    """What open_clip alone says of all pairs."""
    return stock_cosines(model)


@pytest.mark.parametrize("cache", CACHES)
def test_what_is_under_way_is_not_begun_again(
    model: ClipModel, stock: torch.Tensor, cache: str
) -> None:
    """Pairs that come while an equal image and caption are computed wait for those."""
    gate, reads = Gate(), Reads()
    sources: list[Source] = []
    with held(
        model,
        gate,
        lanes=1,
        cache_bytes=CACHES[cache],
        on_embeddings=lambda kind, source, count: sources.extend([source] * count),
    ) as engine:
        engine.score("7", reads.of(7), CAPTIONS[1])
        assert gate.reached.wait(PATIENCE_S)
        staged = [engine.score("0", reads.of(0), CAPTIONS[0]) for _ in range(10)]
        assert not any(future.done() for future in staged)
        gate.go_on.set()
        cosines = {future.result(PATIENCE_S).cosine for future in staged}
    assert reads.counts == {7: 1, 0: 1}
    assert sum(report.images for report in gate.reports) == 2
    assert sum(report.captions for report in gate.reports) == 2
    assert sources[2:] == ["computed"] * 2 + ["in_flight"] * 18
    assert list(cosines) == pytest.approx([float(stock[0, 0])], abs=TOLERANCE)


def test_what_is_known_is_not_read(model: ClipModel) -> None:
    """An image and a caption that were scored before come from memory, together or not."""
    reads, reports = Reads(), list[BatchReport]()
    sources: list[tuple[Kind, Source]] = []
    with opened(
        model,
        on_batch=reports.append,
        on_embeddings=lambda kind, source, count: sources.extend([(kind, source)] * count),
    ) as engine:
        first = engine.score("0", reads.of(0), CAPTIONS[0]).result(PATIENCE_S)
        engine.score("1", reads.of(1), CAPTIONS[1]).result(PATIENCE_S)
        sources.clear()
        n_reports = len(reports)
        assert engine.score("0", reads.of(0), CAPTIONS[0]).result(0) == first
        engine.score("0", reads.of(0), CAPTIONS[1]).result(0)
    assert sources == [("image", "memory"), ("text", "memory")] * 2
    assert reads.counts == {0: 1, 1: 1}
    assert len(reports) == n_reports


def test_notes_stay_with_what_is_known(model: ClipModel) -> None:
    """A first frame and a cut caption are noted each time, also where nothing is computed."""
    with opened(model) as engine:
        frame = Image(IMAGES[0], (Note.FIRST_FRAME_ONLY,))
        scores = [
            engine.score("frame", lambda: frame, CAPTIONS[-1]).result(PATIENCE_S) for _ in range(3)
        ]
    assert {score.notes for score in scores} == {(Note.FIRST_FRAME_ONLY, Note.CAPTION_TRUNCATED)}


@pytest.mark.parametrize("error", [ArithmeticError("no image"), KeyboardInterrupt("no image")])
def test_a_failed_read_reaches_all_who_wait_for_it_and_nobody_else(
    model: ClipModel, stock: torch.Tensor, error: BaseException
) -> None:
    """The error is raised where it was read and in every pair that waits for that image.

    Other images go on, and the next pair with the same image reads it again.
    """
    reading, fail = threading.Event(), threading.Event()
    raised: list[BaseException] = []
    reads = Reads()

    def failing() -> Image:
        reading.set()
        assert fail.wait(PATIENCE_S)
        raise error

    def score_failing(engine: Engine) -> None:
        try:
            engine.score("0", failing, CAPTIONS[0])
        except BaseException as caught:
            raised.append(caught)

    with opened(model) as engine:
        caller = threading.Thread(target=score_failing, args=(engine,))
        caller.start()
        assert reading.wait(PATIENCE_S)
        waiting = [engine.score("0", reads.of(0), CAPTIONS[n]) for n in range(3)]
        other = engine.score("1", reads.of(1), CAPTIONS[0])
        assert other.result(PATIENCE_S).cosine == pytest.approx(float(stock[1, 0]), abs=TOLERANCE)
        assert not any(future.done() for future in waiting)
        assert reads.counts == {1: 1}
        fail.set()
        assert [future.exception(PATIENCE_S) for future in waiting] == [error] * 3
        caller.join(PATIENCE_S)
        assert raised == [error]
        again = engine.score("0", reads.of(0), CAPTIONS[0])
        assert again.result(PATIENCE_S).cosine == pytest.approx(float(stock[0, 0]), abs=TOLERANCE)
    assert reads.counts == {0: 1, 1: 1}


def test_a_caption_that_no_tokenizer_takes_fails_alone(
    model: ClipModel, stock: torch.Tensor
) -> None:
    """Whoever waits for the same caption gets its error; its image is scored with another."""

    def refusing(texts: list[str], context_length: int) -> torch.Tensor:
        if texts == ["bad"]:
            raise ArithmeticError("a bad caption")
        tokens: torch.Tensor = model.tokenizer(texts, context_length=context_length)
        return tokens

    reads = Reads()
    with opened(replace(model, tokenizer=refusing)) as engine:
        for _ in range(2):
            with pytest.raises(ArithmeticError, match="a bad caption"):
                engine.score("0", reads.of(0), "bad").result(PATIENCE_S)
        good = engine.score("0", reads.of(0), CAPTIONS[0])
        assert good.result(PATIENCE_S).cosine == pytest.approx(float(stock[0, 0]), abs=TOLERANCE)
    assert reads.counts == {0: 1}


def test_a_failed_pass_is_not_remembered(model: ClipModel, stock: torch.Tensor) -> None:
    """After an image that the model cannot take, the same name with a sound one is scored."""
    small = Image(np.zeros((7, 7, 3), dtype=np.uint8))
    with opened(model, max_batch_items=1) as engine:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                engine.score("0", lambda: small, CAPTIONS[0]).result(PATIENCE_S)
        right = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
        assert right.result(PATIENCE_S).cosine == pytest.approx(float(stock[0, 0]), abs=TOLERANCE)


def test_no_number_is_an_error_and_not_a_match(model: ClipModel) -> None:
    """Where a model computes NaN, there is no cosine: clipping to [-1, 1] would make it 1."""
    clip = clone(model.clip)
    clip.visual.register_forward_hook(lambda module, arguments, vectors: vectors * float("nan"))
    with opened(replace(model, clip=clip)) as engine:
        future = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
        with pytest.raises(ArithmeticError, match="not a number"):
            future.result(PATIENCE_S)


def test_with_no_cache_nothing_is_left_behind(model: ClipModel) -> None:
    """What has landed is neither known nor under way: each pair is computed anew."""
    reads = Reads()
    sources: list[Source] = []
    with opened(
        model,
        cache_bytes=0,
        on_embeddings=lambda kind, source, count: sources.extend([source] * count),
    ) as engine:
        for _ in range(4):
            engine.score("0", reads.of(0), CAPTIONS[0]).result(PATIENCE_S)
    assert reads.counts == {0: 4}
    assert sources == ["computed"] * 8


@pytest.mark.parametrize("max_entries", [1, 5, 20])
def test_no_more_is_known_than_fits_the_cache(model: ClipModel, max_entries: int) -> None:
    """After many images, as many of the last are known as `cache_bytes` has room for."""
    one = EmbeddingCache(max_bytes=2**20)
    one.put([(Key("image", "0" * 64), Embedding(np.zeros(32, dtype=np.float32)))])
    sources: list[tuple[Kind, Source]] = []
    with opened(
        model,
        cache_bytes=max_entries * one.held_bytes,
        on_embeddings=lambda kind, source, count: sources.extend([(kind, source)] * count),
    ) as engine:
        # In turn, the caption last: it is known and takes one place.
        for number in range(30):
            engine.score(str(number), lambda: Image(IMAGES[0]), CAPTIONS[0]).result(PATIENCE_S)
        sources.clear()
        # Backwards, so that those are met first that were used last.
        known = 0
        for number in reversed(range(30)):
            sources.clear()
            engine.score(str(number), lambda: Image(IMAGES[0]), CAPTIONS[0]).result(PATIENCE_S)
            if ("image", "memory") not in sources:
                break
            known += 1
    assert max_entries - 1 <= known <= max_entries


def test_a_known_vector_does_not_keep_its_batch(
    model: ClipModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once scored, neither pixels nor the vectors of a whole batch stay in memory."""
    refs: list[weakref.ref[Any]] = []

    def watching(encode: Callable[..., Any]) -> Callable[..., Any]:
        def encode_and_watch(self: Towers, items: Any) -> Any:
            vectors = encode(self, items)
            refs.append(weakref.ref(vectors))
            return vectors

        return encode_and_watch

    def read() -> Image:
        pixels = IMAGES[0].copy()
        refs.append(weakref.ref(pixels))
        return Image(pixels)

    with opened(model, lanes=2) as engine:
        monkeypatch.setattr(Towers, "encode_images", watching(Towers.encode_images))
        monkeypatch.setattr(Towers, "encode_captions", watching(Towers.encode_captions))
        staged = [engine.score(str(number), read, f"dog {number}") for number in range(20)]
        scores = [future.result(PATIENCE_S) for future in staged]
        assert len(refs) > 20
        gc.collect()
        eventually(lambda: all(reference() is None for reference in refs))
        # They are known all the same.
        again = [engine.score(str(number), read, f"dog {number}") for number in range(20)]
        assert [future.result(0) for future in again] == scores


def test_who_comes_first_alone_reads(model: ClipModel) -> None:
    """Of threads that bring one new image at the same moment, one reads it, time after time."""
    with opened(model) as engine:
        for turn in range(60):
            reads = Reads()
            score = partial(engine.score, f"turn {turn}", reads.of(0), CAPTIONS[0])
            staged = all_at_once([score] * 6)
            assert len({future.result(PATIENCE_S).cosine for future in staged}) == 1
            assert reads.counts == {0: 1}


def test_a_missing_blob_is_no_fault_of_a_fetched_file(model: ClipModel) -> None:
    """Of equal names, the image that was fetched is scored while a blob of that name fails."""
    reading, go_on = threading.Event(), threading.Event()

    def missing() -> Image:
        reading.set()
        assert go_on.wait(PATIENCE_S)
        raise Unscorable(Reason.IMAGE_NOT_FOUND, "no such blob")

    with opened(model, max_batch_items=4) as engine, ThreadPoolExecutor(1) as threads:
        failing = threads.submit(engine.score, "0", missing, CAPTIONS[0], source="blob")
        assert reading.wait(PATIENCE_S)
        fetched = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0], source="url")
        go_on.set()
        assert -1 <= fetched.result(PATIENCE_S).cosine <= 1
        with pytest.raises(Unscorable):
            failing.result(PATIENCE_S)


def test_a_fault_of_the_device_is_not_remembered(model: ClipModel) -> None:
    """A vector that was no number is computed anew at the next try."""
    with opened(model, max_batch_items=4) as engine:
        towers = engine.choice.towers
        sound = towers.encode_captions
        broken = np.full((1, towers.dimensions), np.nan, dtype=np.float32)
        with patch.object(towers, "encode_captions", lambda _: broken):
            wrong = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
            with pytest.raises(ArithmeticError):
                wrong.result(PATIENCE_S)
        assert towers.encode_captions == sound
        right = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
        assert -1 <= right.result(PATIENCE_S).cosine <= 1


def test_one_vector_that_is_no_number_harms_no_neighbour(model: ClipModel) -> None:
    """Those that were computed with it have their scores, and are remembered; it is not."""
    gate, reads = Gate(), Reads()
    sources: list[tuple[Kind, Source]] = []
    with held(
        model,
        gate,
        lanes=1,
        on_embeddings=lambda kind, source, count: sources.extend([(kind, source)] * count),
    ) as engine:
        towers = engine.choice.towers

        def spoil(encode: Callable[[Any], Any], given: Any) -> Any:
            vectors = encode(given).copy()
            vectors[0] = np.nan
            return vectors

        engine.score("7", reads.of(7), CAPTIONS[4])
        assert gate.reached.wait(PATIENCE_S)
        with (
            patch.object(towers, "encode_images", partial(spoil, towers.encode_images)),
            patch.object(towers, "encode_captions", partial(spoil, towers.encode_captions)),
        ):
            staged = [engine.score(str(n), reads.of(n), CAPTIONS[n]) for n in range(3)]
            gate.go_on.set()
            with pytest.raises(ArithmeticError):
                staged[0].result(PATIENCE_S)
            told = [future.result(PATIENCE_S) for future in staged[1:]]
        sources.clear()
        again = [engine.score(str(n), reads.of(n), CAPTIONS[n]) for n in (1, 2, 0)]
        assert [future.result(PATIENCE_S) for future in again[:2]] == told
        assert -1 <= again[2].result(PATIENCE_S).cosine <= 1
    assert sources == [
        *[("image", "memory"), ("text", "memory")] * 2,
        *[("image", "computed"), ("text", "computed")],
    ]
