"""The engine's cosines are open_clip's own, whatever shares their batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from moderation.scoring.engine import BatchReport, Engine
from moderation.scoring.model import ClipModel
from moderation.types import Image, Note, PairScore

PATIENCE_S = 60
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


@contextmanager
def _engine(
    model: ClipModel, *, max_batch_items: int, reports: list[BatchReport] | None = None
) -> Iterator[Engine]:
    on_batch = (lambda report: None) if reports is None else reports.append
    engine = Engine(model, max_batch_items=max_batch_items, on_batch=on_batch)
    try:
        yield engine
    finally:
        engine.close()


def _score(
    model: ClipModel, pairs: Sequence[tuple[int, int]], *, max_batch_items: int = 64
) -> list[PairScore]:
    with _engine(model, max_batch_items=max_batch_items) as engine:
        staged = [engine.score(str(i), partial(Image, IMAGES[i]), CAPTIONS[j]) for i, j in pairs]
        return [future.result(PATIENCE_S) for future in staged]


@pytest.fixture(scope="module")
def stock(model: ClipModel) -> torch.Tensor:
    """Compute the cosines of all images and captions with open_clip alone: (images, captions)."""
    preprocess = open_clip.image_transform(
        (model.framing.height_px, model.framing.width_px),
        is_train=False,
        mean=model.mean,
        std=model.std,
        interpolation=model.framing.interpolation,
        resize_mode=model.framing.resize_mode,
    )
    clip = open_clip.create_model(model.spec)
    tokenizer = open_clip.get_tokenizer(model.spec)
    pixels = torch.stack([preprocess(PillowImage.fromarray(image)) for image in IMAGES])
    with torch.inference_mode():
        images = clip.eval().encode_image(pixels, normalize=True)
        texts = clip.encode_text(tokenizer(CAPTIONS), normalize=True)
    return images @ texts.T


def test_cosines_differ_between_pairs(stock: torch.Tensor) -> None:
    """The tiny model tells images and captions apart, else the tests here would show nothing."""
    assert stock.std(dim=0).min() > 100 * TOLERANCE
    assert stock.std(dim=1).min() > 100 * TOLERANCE


@settings(max_examples=30)
@given(
    pairs=st.lists(PAIRS, min_size=1, max_size=24),
    max_batch_items=st.integers(1, 30),
)
def test_cosines_are_open_clips_in_any_company(
    model: ClipModel, stock: torch.Tensor, pairs: list[tuple[int, int]], max_batch_items: int
) -> None:
    """Each pair gets the cosine of stock open_clip, whatever is batched with it, in any order."""
    scores = _score(model, pairs, max_batch_items=max_batch_items)
    expected = [float(stock[i, j]) for i, j in pairs]
    assert [score.cosine for score in scores] == pytest.approx(expected, abs=TOLERANCE)


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
    with _engine(model, max_batch_items=3, reports=reports) as engine:
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
