"""bf16 is taken where it is much faster and close enough, and cosines stay close."""

from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch

from moderation.scoring import precision
from moderation.scoring.engine import Engine
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import MAX_DRIFT, Wanted, choose_precision
from moderation.types import Image

CAPTIONS = ["a dog", "two red houses", "a caption of many more words than there are places for it"]


def _cosines(model: ClipModel, wanted: Wanted) -> list[float]:
    images = np.random.default_rng(3).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    engine = Engine(model, max_batch_items=4, precision=wanted)
    try:
        staged = [
            engine.score(str(n), partial(Image, i), CAPTIONS[n % 3]) for n, i in enumerate(images)
        ]
        return [future.result(60).cosine for future in staged]
    finally:
        engine.close()


def test_bf16_stays_within_the_drift(model: ClipModel) -> None:
    """With the weights halved, cut captions and batches, cosines move less than is allowed."""
    exact, close = _cosines(model, "fp32"), _cosines(model, "bf16")
    assert exact != close, "bf16 was computed with"
    assert max(abs(a - b) for a, b in zip(exact, close, strict=True)) <= MAX_DRIFT


def test_the_model_itself_stays_as_it_was(model: ClipModel) -> None:
    """Choosing bf16 leaves the loaded model, whose hash was taken, in fp32."""
    assert choose_precision(model, "bf16").precision == "bf16"
    assert next(model.clip.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("faster", "drift", "expected"),
    [(3.0, 0.001, "bf16"), (1.2, 0.001, "fp32"), (3.0, 0.01, "fp32"), (0.5, 0.0, "fp32")],
)
def test_bf16_must_be_much_faster_and_close(
    model: ClipModel, faster: float, drift: float, expected: str
) -> None:
    """Neither speed nor closeness alone is enough."""
    measured = iter([(np.zeros(2), faster), (np.full(2, drift), 1.0)])
    with (
        patch.object(precision, "_stock_cosines", lambda _: np.zeros(2)),
        patch.object(precision, "_measure", lambda *_: next(measured)),
    ):
        choice = choose_precision(model, "auto")
    assert choice.precision == expected
    computed_with = next(choice.towers.model.clip.parameters()).dtype
    assert computed_with == (torch.float32 if expected == "fp32" else torch.bfloat16)


def test_what_is_wanted_is_taken(model: ClipModel) -> None:
    """A precision that an operator sets is not second-guessed."""
    assert choose_precision(model, "fp32").precision == "fp32"
    assert choose_precision(model, "bf16").precision == "bf16"
