"""The engine's cosines are open_clip's own, whatever shares their batch, lane or cache."""

import gc
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import Unscorable
from moderation.scoring.cache import Embedding, EmbeddingCache, Key, Kind, Source
from moderation.scoring.clones import clone
from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.scoring.towers import Towers
from moderation.types import Image, Note, PairScore, Reason
from tests.conftest import eventually
from tests.unit.scoring.stock import stock_captions, stock_images
from tests.unit.threads import PATIENCE_S, all_at_once, is_waiting_for_room

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


class _Reads:
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
def _engine(model: ClipModel, **options: Any) -> Iterator[Engine]:
    engine = Engine(model, **{"max_batch_items": 64, "lanes": 2, **options})
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def stock(model: ClipModel) -> torch.Tensor:
    """The cosines of all images and captions by open_clip alone: (images, captions)."""
    return stock_images(model, IMAGES) @ stock_captions(model, CAPTIONS).T


def test_cosines_differ_between_pairs(stock: torch.Tensor) -> None:
    """The tiny model tells images and captions apart, else the tests here would show nothing."""
    assert stock.std(dim=0).min() > 100 * TOLERANCE
    assert stock.std(dim=1).min() > 100 * TOLERANCE


CACHES = {"none": 0, "tiny": 2_500, "large": 2**26}


@settings(max_examples=60)
@given(
    pairs=st.lists(PAIRS, min_size=1, max_size=40),
    max_batch_items=st.integers(1, 30),
    lanes=st.integers(1, 4),
    n_callers=st.integers(1, 4),
    cache=st.sampled_from(list(CACHES)),
)
def test_cosines_are_open_clips_in_any_company(
    model: ClipModel,
    stock: torch.Tensor,
    pairs: list[tuple[int, int]],
    max_batch_items: int,
    lanes: int,
    n_callers: int,
    cache: str,
) -> None:
    """Each pair gets its own cosine, whatever it shares with others, lanes, batches and caches.

    No image is read or computed more often than it came, and with room in the cache no image
    or caption twice.
    """
    reads, reports = _Reads(), list[BatchReport]()
    sources: list[tuple[Kind, Source]] = []
    with (
        _engine(
            model,
            max_batch_items=max_batch_items,
            lanes=lanes,
            cache_bytes=CACHES[cache],
            on_batch=reports.append,
            on_embedding=lambda kind, source: sources.append((kind, source)),
        ) as engine,
        ThreadPoolExecutor(n_callers) as callers,
    ):
        staged = list(
            callers.map(
                lambda pair: engine.score(str(pair[0]), reads.of(pair[0]), _text(pair)), pairs
            )
        )
        cosines = [future.result(PATIENCE_S).cosine for future in staged]
    assert cosines == pytest.approx([float(stock[i, j]) for i, j in pairs], abs=TOLERANCE)
    images, captions = Counter(i for i, _ in pairs), Counter(j for _, j in pairs)
    most = dict.fromkeys(images, 1) if cache == "large" else images
    assert set(reads.counts) == set(images)
    assert all(reads.counts[image] <= most[image] for image in images)
    computed = Counter(kind for kind, source in sources if source == "computed")
    assert Counter(kind for kind, _ in sources) == {"image": len(pairs), "text": len(pairs)}
    assert sum(report.images for report in reports) == reads.counts.total() == computed["image"]
    assert sum(report.captions for report in reports) == computed["text"]
    if cache == "large":
        assert computed["text"] == len(captions)
    assert max(report.images + report.captions for report in reports) <= 2 * max_batch_items


def _text(pair: tuple[int, int]) -> str:
    return CAPTIONS[pair[1]]


@pytest.mark.parametrize("caption", range(len(CAPTIONS)))
def test_only_a_cut_caption_is_noted_as_cut(model: ClipModel, caption: int) -> None:
    """The caption that does not fit carries the note, and the notes of its image stay."""
    is_long = caption == len(CAPTIONS) - 1
    cut = (Note.CAPTION_TRUNCATED,) if is_long else ()
    with _engine(model, max_batch_items=4) as engine:
        plain = engine.score("plain", lambda: Image(IMAGES[0]), CAPTIONS[caption])
        frame = Image(IMAGES[0], (Note.FIRST_FRAME_ONLY,))
        noted = engine.score("noted", lambda: frame, CAPTIONS[caption])
        assert plain.result(PATIENCE_S).notes == cut
        assert noted.result(PATIENCE_S).notes == (Note.FIRST_FRAME_ONLY, *cut)


def test_every_batch_is_reported(model: ClipModel) -> None:
    """The reports cover each image and caption once, and no batch is larger than allowed."""
    reports: list[BatchReport] = []
    with _engine(model, max_batch_items=3, on_batch=reports.append) as engine:
        for number in range(10):
            image = Image(IMAGES[number % len(IMAGES)])
            engine.score(str(number), partial(Image, image.pixels), f"dog {number}")
    assert sum(report.images for report in reports) == 10
    assert sum(report.captions for report in reports) == 10
    assert max(report.images + report.captions for report in reports) <= 2 * 3
    assert all(report.forward_s >= 0 and min(report.waits_s) >= 0 for report in reports)


def test_closing_scores_what_is_staged(model: ClipModel, stock: torch.Tensor) -> None:
    """Pairs that were handed in before the end get their cosine."""
    engine = Engine(model, max_batch_items=2)
    staged = [
        engine.score(str(number), partial(Image, image), CAPTIONS[0])
        for number, image in enumerate(IMAGES[:5])
    ]
    engine.close()
    cosines = [future.result(0).cosine for future in staged]
    assert cosines == pytest.approx(stock[:5, 0].tolist(), abs=TOLERANCE)


def test_an_image_of_another_size_harms_later_pairs_not(model: ClipModel) -> None:
    """What the model cannot take fails its own batch; the engine goes on."""
    with _engine(model, max_batch_items=1) as engine:
        small = Image(np.zeros((7, 7, 3), dtype=np.uint8))
        wrong = engine.score("wrong", lambda: small, "a dog")
        with pytest.raises(Exception, match=r"."):
            wrong.result(PATIENCE_S)
        right = engine.score("right", lambda: Image(IMAGES[0]), "a dog")
        assert -1 <= right.result(PATIENCE_S).cosine <= 1


class _Gate:
    """Holds the lanes after their first batch, before anybody gets a result of it."""

    def __init__(self) -> None:
        self.reports: list[BatchReport] = []
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, report: BatchReport) -> None:
        self.reports.append(report)
        self.reached.set()
        assert self.go_on.wait(PATIENCE_S)


@contextmanager
def _held(model: ClipModel, gate: _Gate, **options: Any) -> Iterator[Engine]:
    with _engine(model, on_batch=gate, **options) as engine:
        try:
            yield engine
        finally:
            gate.go_on.set()


@pytest.mark.parametrize("cache", CACHES)
def test_what_is_under_way_is_not_begun_again(
    model: ClipModel, stock: torch.Tensor, cache: str
) -> None:
    """Pairs that come while an equal image and caption are computed wait for those."""
    gate, reads = _Gate(), _Reads()
    sources: list[Source] = []
    with _held(
        model,
        gate,
        lanes=1,
        cache_bytes=CACHES[cache],
        on_embedding=lambda kind, source: sources.append(source),
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
    reads, reports = _Reads(), list[BatchReport]()
    sources: list[tuple[Kind, Source]] = []
    with _engine(
        model,
        on_batch=reports.append,
        on_embedding=lambda kind, source: sources.append((kind, source)),
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
    with _engine(model) as engine:
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
    reads = _Reads()

    def failing() -> Image:
        reading.set()
        assert fail.wait(PATIENCE_S)
        raise error

    def score_failing(engine: Engine) -> None:
        try:
            engine.score("0", failing, CAPTIONS[0])
        except BaseException as caught:
            raised.append(caught)

    with _engine(model) as engine:
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

    reads = _Reads()
    with _engine(replace(model, tokenizer=refusing)) as engine:
        for _ in range(2):
            with pytest.raises(ArithmeticError, match="a bad caption"):
                engine.score("0", reads.of(0), "bad")
        good = engine.score("0", reads.of(0), CAPTIONS[0])
        assert good.result(PATIENCE_S).cosine == pytest.approx(float(stock[0, 0]), abs=TOLERANCE)
    assert reads.counts == {0: 1}


def test_a_failed_pass_is_not_remembered(model: ClipModel, stock: torch.Tensor) -> None:
    """After an image that the model cannot take, the same name with a sound one is scored."""
    small = Image(np.zeros((7, 7, 3), dtype=np.uint8))
    with _engine(model, max_batch_items=1) as engine:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                engine.score("0", lambda: small, CAPTIONS[0]).result(PATIENCE_S)
        right = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
        assert right.result(PATIENCE_S).cosine == pytest.approx(float(stock[0, 0]), abs=TOLERANCE)


def test_no_number_is_an_error_and_not_a_match(model: ClipModel) -> None:
    """Where a model computes NaN, there is no cosine: clipping to [-1, 1] would make it 1."""
    clip = clone(model.clip)
    clip.visual.register_forward_hook(lambda module, arguments, vectors: vectors * float("nan"))
    with _engine(replace(model, clip=clip)) as engine:
        future = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0])
        with pytest.raises(ArithmeticError, match="not a number"):
            future.result(PATIENCE_S)


def test_with_no_cache_nothing_is_left_behind(model: ClipModel) -> None:
    """What has landed is neither known nor under way: each pair is computed anew."""
    reads = _Reads()
    sources: list[Source] = []
    with _engine(
        model, cache_bytes=0, on_embedding=lambda kind, source: sources.append(source)
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
    with _engine(
        model,
        cache_bytes=max_entries * one.held_bytes,
        on_embedding=lambda kind, source: sources.append((kind, source)),
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

    with _engine(model, lanes=2) as engine:
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


@pytest.mark.parametrize(("lanes", "max_batch_items"), [(1, 1), (1, 4), (3, 2)])
def test_a_bounded_number_of_images_is_in_memory(
    model: ClipModel, lanes: int, max_batch_items: int
) -> None:
    """While the lanes are held, callers wait; no more images are read than may be staged."""
    gate = _Gate()
    n_callers, n_images = 3, 200
    numbers = iter(range(n_images))
    taking = threading.Lock()
    reads: list[int] = []
    staged: list[Future[PairScore]] = []

    def read(number: int) -> Image:
        reads.append(number)
        return Image(IMAGES[number % len(IMAGES)])

    def call(engine: Engine) -> None:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            staged.append(engine.score(str(number), partial(read, number), f"dog {number}"))

    with _held(model, gate, lanes=lanes, max_batch_items=max_batch_items) as engine:
        callers = [threading.Thread(target=call, args=(engine,)) for _ in range(n_callers)]
        for caller in callers:
            caller.start()
        eventually(lambda: all(is_waiting_for_room(c) or not c.is_alive() for c in callers))
        assert all(caller.is_alive() for caller in callers), "everything was read at once"
        # In the lanes and staged, every other of them an image for each caller.
        jobs = 3 * lanes * 2 * max_batch_items
        # And in the hands of those who wait.
        most = (jobs + n_callers) // 2 + n_callers
        assert len(reads) <= most < n_images
        gate.go_on.set()
        for caller in callers:
            caller.join(PATIENCE_S)
        assert len({future.result(PATIENCE_S).cosine for future in staged}) > 1
    assert sorted(reads) == list(range(n_images))
    assert len(staged) == n_images


@pytest.mark.parametrize("lanes", [1, 4])
def test_callers_at_once_each_get_their_own(
    model: ClipModel, stock: torch.Tensor, lanes: int
) -> None:
    """Many threads with the same few images, in other orders, get their own cosines.

    Each image is read once by whoever is first.
    """
    reads = _Reads()
    pairs = [(i, j) for i in range(len(IMAGES)) for j in range(len(CAPTIONS))]
    with _engine(model, lanes=lanes, max_batch_items=3) as engine:

        def score_all(offset: int) -> list[float]:
            turned = pairs[offset:] + pairs[:offset]
            staged = [engine.score(str(i), reads.of(i), CAPTIONS[j]) for i, j in turned]
            cosines = [future.result(PATIENCE_S).cosine for future in staged]
            return cosines[len(pairs) - offset :] + cosines[: len(pairs) - offset]

        results = all_at_once([partial(score_all, 5 * (caller // 4)) for caller in range(8)])
    expected = stock.flatten().tolist()
    for cosines in results:
        assert cosines == pytest.approx(expected, abs=TOLERANCE)
    assert reads.counts == dict.fromkeys(range(len(IMAGES)), 1)


def test_closing_while_callers_score_leaves_nobody_waiting(model: ClipModel) -> None:
    """A pair that comes around the end is either scored or refused, and none hangs."""
    gate = _Gate()
    engine = Engine(model, max_batch_items=2, lanes=2, on_batch=gate)
    staged: list[Future[PairScore]] = []
    refused: list[str] = []

    def call(offset: int) -> None:
        for number in range(offset, 100, 4):
            try:
                image = partial(Image, IMAGES[number % len(IMAGES)])
                staged.append(engine.score(str(number), image, f"dog {number}"))
            except RuntimeError as error:
                refused.append(str(error))

    callers = [threading.Thread(target=call, args=(offset,)) for offset in range(4)]
    for caller in callers:
        caller.start()
    assert gate.reached.wait(PATIENCE_S)
    eventually(lambda: all(map(is_waiting_for_room, callers)))
    closing = threading.Thread(target=engine.close)
    closing.start()
    for caller in callers:
        caller.join(PATIENCE_S)
        assert not caller.is_alive()
    gate.go_on.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert all(future.done() for future in staged)
    assert all(-1 <= future.result(0).cosine <= 1 for future in staged)
    assert set(refused) == {"the batcher is closed"}
    assert len(staged) + len(refused) == 100


def test_a_pair_that_nobody_wants_any_more_harms_nobody(
    model: ClipModel, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that gives up is left out; who waits for the same image gets a cosine."""
    gate = _Gate()
    with caplog.at_level(logging.ERROR), _held(model, gate, lanes=1) as engine:
        engine.score("7", lambda: Image(IMAGES[7]), CAPTIONS[1])
        assert gate.reached.wait(PATIENCE_S)
        given_up, kept = (
            engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0]) for _ in range(2)
        )
        assert given_up.cancel()
        gate.go_on.set()
        assert -1 <= kept.result(PATIENCE_S).cosine <= 1
    assert caplog.records == []


def test_each_lane_computes_on_one_thread_and_leaves_others_alone(model: ClipModel) -> None:
    """Lanes do not wait for each other's threads, and the caller keeps as many as it had."""
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with _engine(model, lanes=2, on_batch=lambda _: seen.append(torch.get_num_threads())) as e:
            e.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0]).result(PATIENCE_S)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_who_comes_first_alone_reads(model: ClipModel) -> None:
    """Of threads that bring one new image at the same moment, one reads it, time after time."""
    with _engine(model) as engine:
        for turn in range(60):
            reads = _Reads()
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

    with _engine(model, max_batch_items=4) as engine, ThreadPoolExecutor(1) as threads:
        failing = threads.submit(engine.score, "0", missing, CAPTIONS[0], source="blob")
        assert reading.wait(PATIENCE_S)
        fetched = engine.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0], source="url")
        go_on.set()
        assert -1 <= fetched.result(PATIENCE_S).cosine <= 1
        with pytest.raises(Unscorable):
            failing.result(PATIENCE_S)


def test_a_fault_of_the_device_is_not_remembered(model: ClipModel) -> None:
    """A vector that was no number is computed anew at the next try."""
    with _engine(model, max_batch_items=4) as engine:
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
