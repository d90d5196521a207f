"""The engine's cosines are open_clip's own, whatever shares their batch, lane or cache."""

import logging
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.cache import Kind, Source
from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.types import Image, Note, PairScore
from tests.conftest import eventually
from tests.unit.scoring.engines import (
    CACHES,
    CAPTIONS,
    IMAGES,
    PAIRS,
    TOLERANCE,
    Gate,
    Reads,
    held,
    opened,
    stock_cosines,
    text_of,
)
from tests.unit.threads import PATIENCE_S, all_at_once, is_waiting_for_room


@pytest.fixture(scope="module")
def stock(model: ClipModel) -> torch.Tensor:
    """What open_clip alone says of all pairs."""
    return stock_cosines(model)


def test_cosines_differ_between_pairs(stock: torch.Tensor) -> None:
    """The tiny model tells images and captions apart, else the tests here would show nothing."""
    assert stock.std(dim=0).min() > 100 * TOLERANCE
    assert stock.std(dim=1).min() > 100 * TOLERANCE


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
    reads, reports = Reads(), list[BatchReport]()
    sources: list[tuple[Kind, Source]] = []
    with (
        opened(
            model,
            max_batch_items=max_batch_items,
            lanes=lanes,
            cache_bytes=CACHES[cache],
            on_batch=reports.append,
            on_embeddings=lambda kind, source, count: sources.extend([(kind, source)] * count),
        ) as engine,
        ThreadPoolExecutor(n_callers) as callers,
    ):
        staged = list(
            callers.map(
                lambda pair: engine.score(str(pair[0]), reads.of(pair[0]), text_of(pair)), pairs
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


@pytest.mark.parametrize("caption", range(len(CAPTIONS)))
def test_only_a_cut_caption_is_noted_as_cut(model: ClipModel, caption: int) -> None:
    """The caption that does not fit carries the note, and the notes of its image stay."""
    is_long = caption == len(CAPTIONS) - 1
    cut = (Note.CAPTION_TRUNCATED,) if is_long else ()
    with opened(model, max_batch_items=4) as engine:
        plain = engine.score("plain", lambda: Image(IMAGES[0]), CAPTIONS[caption])
        frame = Image(IMAGES[0], (Note.FIRST_FRAME_ONLY,))
        noted = engine.score("noted", lambda: frame, CAPTIONS[caption])
        assert plain.result(PATIENCE_S).notes == cut
        assert noted.result(PATIENCE_S).notes == (Note.FIRST_FRAME_ONLY, *cut)


def test_every_batch_is_reported(model: ClipModel) -> None:
    """The reports cover each image and caption once, and no batch is larger than allowed."""
    reports: list[BatchReport] = []
    with opened(model, max_batch_items=3, on_batch=reports.append) as engine:
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
    with opened(model, max_batch_items=1) as engine:
        small = Image(np.zeros((7, 7, 3), dtype=np.uint8))
        wrong = engine.score("wrong", lambda: small, "a dog")
        with pytest.raises(Exception, match=r"."):
            wrong.result(PATIENCE_S)
        right = engine.score("right", lambda: Image(IMAGES[0]), "a dog")
        assert -1 <= right.result(PATIENCE_S).cosine <= 1


@pytest.mark.parametrize(("lanes", "max_batch_items"), [(1, 1), (1, 4), (3, 2)])
def test_a_bounded_number_of_images_is_in_memory(
    model: ClipModel, lanes: int, max_batch_items: int
) -> None:
    """While the lanes are held, callers wait; no more images are read than may be staged."""
    gate = Gate()
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

    with held(model, gate, lanes=lanes, max_batch_items=max_batch_items) as engine:
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
    reads = Reads()
    pairs = [(i, j) for i in range(len(IMAGES)) for j in range(len(CAPTIONS))]
    with opened(model, lanes=lanes, max_batch_items=3) as engine:

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
    gate = Gate()
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
    assert set(refused) == {"the stage is closed"}
    assert len(staged) + len(refused) == 100


def test_a_pair_that_nobody_wants_any_more_harms_nobody(
    model: ClipModel, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that gives up is left out; who waits for the same image gets a cosine."""
    gate = Gate()
    with caplog.at_level(logging.ERROR), held(model, gate, lanes=1) as engine:
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
        with opened(model, lanes=2, on_batch=lambda _: seen.append(torch.get_num_threads())) as e:
            e.score("0", lambda: Image(IMAGES[0]), CAPTIONS[0]).result(PATIENCE_S)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
