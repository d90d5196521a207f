"""The towers' vectors are those of stock open_clip, from preprocessing to unit length."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.model import ClipModel
from moderation.scoring.precision import MAX_DRIFT, choose_precision
from moderation.scoring.towers import Towers
from tests.unit.scoring.stock import (
    make_model,
    random_images,
    stock_captions,
    stock_images,
    tokens_of,
)
from tests.unit.threads import all_at_once

CAPTIONS = [
    "a dog",
    "two red houses",
    "犬",
    "",
    "a caption of many more words than there are places",
]
SIZES = {"square": 32, "wide": [32, 64], "tall": [48, 16]}


@pytest.fixture(scope="module", params=SIZES)
def framed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    """A model whose images have this shape."""
    folder: Path = tmp_path_factory.mktemp("framed")
    return make_model(folder, is_wide=True, vision={"image_size": SIZES[request.param]})


@pytest.fixture(scope="module")
def exact(framed: ClipModel) -> Towers:
    """Its towers in fp32."""
    return choose_precision(framed, "fp32").towers


@pytest.fixture(scope="module")
def halved(framed: ClipModel) -> Towers:
    """Its towers in bf16."""
    return choose_precision(framed, "bf16").towers


@settings(max_examples=25)
@given(count=st.integers(1, 20), seed=st.integers(0, 1000))
def test_images_are_open_clips(framed: ClipModel, exact: Towers, count: int, seed: int) -> None:
    """For any batch of images of any shape, vectors are stock preprocessing's and tower's."""
    images = random_images(framed, count, seed=seed)
    vectors = exact.encode_images(images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, stock_images(framed, images), atol=1e-5)


@settings(max_examples=25)
@given(captions=st.lists(st.sampled_from(CAPTIONS), min_size=1, max_size=20))
def test_captions_are_open_clips(framed: ClipModel, exact: Towers, captions: list[str]) -> None:
    """For any batch of captions, vectors are the stock tokenizer's and tower's."""
    vectors = exact.encode_captions(list(tokens_of(framed, captions)))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, stock_captions(framed, captions), atol=1e-5)


@settings(max_examples=25)
@given(count=st.integers(1, 20), seed=st.integers(0, 1000))
def test_cosines_in_bf16_are_close(
    framed: ClipModel, halved: Towers, count: int, seed: int
) -> None:
    """With halved and packed weights, no cosine moves by more than is allowed."""
    images = random_images(framed, count, seed=seed)
    vectors = halved.encode_images(images)
    texts = halved.encode_captions(list(tokens_of(framed, CAPTIONS)))
    assert (vectors.dtype, texts.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    expected = stock_images(framed, images) @ stock_captions(framed, CAPTIONS).T
    np.testing.assert_allclose(vectors @ texts.T, expected, atol=MAX_DRIFT)


@pytest.mark.parametrize("precision", ["exact", "halved"])
def test_threads_share_towers(
    framed: ClipModel, precision: str, request: pytest.FixtureRequest
) -> None:
    """Lanes that compute other batches at the same time get what they get alone."""
    towers: Towers = request.getfixturevalue(precision)
    batches = [random_images(framed, 2 + number, seed=number) for number in range(4)]
    alone = [towers.encode_images(batch) for batch in batches]

    def encode(number: int) -> float:
        return max(
            float(np.abs(towers.encode_images(batches[number]) - alone[number]).max())
            for _ in range(20)
        )

    assert max(all_at_once([partial(encode, number) for number in range(4)])) < 1e-5


def test_the_number_of_dimensions_is_known(model: ClipModel) -> None:
    """It is that of the vectors, and the shared cache relies on it."""
    towers = Towers(model)
    assert towers.dimensions == 32
    assert towers.encode_images(random_images(model, 1)).shape == (1, 32)


def test_a_batch_of_no_use_is_an_error(model: ClipModel) -> None:
    """An image of another size and a caption of another length are refused, not misread."""
    towers = Towers(model)
    small: Any = np.zeros((16, 16, 3), dtype=np.uint8)
    with pytest.raises(RuntimeError):
        towers.encode_images([*random_images(model, 2), small])
    with pytest.raises(RuntimeError):
        towers.encode_captions([torch.zeros(12, dtype=torch.int64), torch.zeros(9, dtype=int)])
