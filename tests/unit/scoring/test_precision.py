"""bf16 is taken where it is faster and close enough, and cosines stay close."""

import time
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from moderation.scoring import precision
from moderation.scoring.clones import clone
from moderation.scoring.engine import Engine
from moderation.scoring.model import ClipModel
from moderation.scoring.precision import MAX_DRIFT, Wanted, choose_precision
from moderation.scoring.probes import CAPTIONS as PROBE_CAPTIONS
from moderation.scoring.probes import probe_pixels, probe_tokens
from moderation.scoring.towers import Towers
from moderation.types import Image
from tests.unit.scoring.stock import stock_captions, stock_images

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
    [
        (3.0, 0.001, "bf16"),
        (1.25, 0.001, "bf16"),
        (1.15, 0.001, "fp32"),
        (3.0, 0.01, "fp32"),
        (3.0, -0.01, "fp32"),
        (0.5, 0.0, "fp32"),
    ],
)
def test_bf16_must_be_faster_and_close(
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


@pytest.mark.parametrize(
    ("runs_s", "expected_s"),
    [
        # A long round needs no second.
        ([3.0, 1.0], (3.0, 1.0)),
        # Short ones go on, until they are five or long enough together.
        ([0.03, 0.01] * 4 + [0.02, 0.02], (0.02, 0.01)),
        ([0.2, 0.2, 0.1, 0.3], (0.1, 0.2)),
    ],
)
def test_rounds_alternate_and_the_shortest_runs_count(
    model: ClipModel, runs_s: list[float], expected_s: tuple[float, float]
) -> None:
    """fp32 and bf16 take turns, so that other work on the machine hurts both."""
    runs = iter(runs_s)
    dtypes: list[torch.dtype] = []

    def measure(towers: Towers, *_: object) -> tuple[Any, float]:
        dtypes.append(next(towers.model.clip.parameters()).dtype)
        return np.zeros((8, 8)), next(runs)

    with patch.object(precision, "_measure", measure):
        choice = choose_precision(model, "auto")
    assert (choice.fp32_s, choice.bf16_s) == expected_s
    assert dtypes == [torch.float32, torch.bfloat16] * (len(runs_s) // 2)


def _keep_a_core_busy() -> None:
    while time.thread_time() < 0.5:
        pass


def test_waiting_for_others_does_not_count(model: ClipModel) -> None:
    """On a CPU the towers' own CPU time decides, whatever other threads do meanwhile."""
    encode = Towers.encode_images

    def slowed(towers: Towers, pixels: Any) -> Any:
        if next(towers.model.clip.parameters()).dtype == torch.float32:
            other = Thread(target=_keep_a_core_busy)
            other.start()
            other.join()
        return encode(towers, pixels)

    with patch.object(Towers, "encode_images", slowed):
        choice = choose_precision(model, "auto")
    assert choice.fp32_s is not None
    assert choice.fp32_s < 0.5


def test_what_is_wanted_is_taken(model: ClipModel) -> None:
    """A precision that an operator sets is not second-guessed."""
    assert choose_precision(model, "fp32").precision == "fp32"
    assert choose_precision(model, "bf16").precision == "bf16"


def test_drift_is_measured_against_stock_open_clip(model: ClipModel) -> None:
    """The drift is how far cosines of the towers in bf16 are from open_clip's own in fp32."""
    towers = choose_precision(model, "bf16").towers
    images = towers.encode_images(probe_pixels(model, 16))[:8]
    texts = towers.encode_captions(list(probe_tokens(model, 16)))[:8]
    captions = [PROBE_CAPTIONS[index % len(PROBE_CAPTIONS)] for index in range(8)]
    stock = stock_images(model, probe_pixels(model, 8)) @ stock_captions(model, captions).T
    drift = choose_precision(model, "auto").max_drift
    assert drift is not None
    assert drift > 0
    assert drift == pytest.approx(float(np.abs(images @ texts.T - stock.numpy()).max()), abs=2e-4)


def test_a_fast_path_that_is_wrong_counts_as_drift(model: ClipModel) -> None:
    """Were the towers' own fp32 the measure, what both precisions get wrong would not show."""

    def wrong(stock: ClipModel) -> ClipModel:
        clip = clone(stock.clip)
        clip.visual.register_forward_hook(lambda module, arguments, vectors: vectors.flip(-1))
        return replace(stock, clip=clip)

    with patch.object(precision, "with_lean_attention", wrong):
        choice = choose_precision(model, "auto")
    assert choice.max_drift is not None
    assert choice.max_drift > MAX_DRIFT
    assert choice.precision == "fp32"


class _NoBf16(torch.nn.Module):
    """A layer that some devices have for fp32 only."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, rows: torch.Tensor) -> Any:
        """Refuse bf16, as torch does."""
        if rows.dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return self.inner(rows)


@pytest.mark.parametrize("tower", ["visual", "text"])
def test_a_model_that_knows_no_bf16_runs_in_fp32(model: ClipModel, tower: str) -> None:
    """Where either tower cannot be computed in bf16, auto takes fp32 and does not fail."""
    clip = clone(model.clip)
    place = clip.visual if tower == "visual" else clip
    name = "ln_post" if tower == "visual" else "ln_final"
    setattr(place, name, _NoBf16(getattr(place, name)))
    choice = choose_precision(replace(model, clip=clip), "auto")
    assert choice.precision == "fp32"
    assert choice.towers.encode_images(probe_pixels(model, 2)).shape == (2, 32)


@pytest.mark.parametrize("fails", [False, True])
def test_torch_keeps_its_threads(model: ClipModel, fails: bool) -> None:
    """The measurement runs on one thread, and whoever asked for it has all of theirs after it."""
    during: list[int] = []
    before = torch.get_num_threads()

    def measure(*_: object) -> tuple[Any, float]:
        during.append(torch.get_num_threads())
        if fails:
            raise RuntimeError("no bf16")
        return np.zeros((8, 8)), 1.0

    torch.set_num_threads(3)
    try:
        with patch.object(precision, "_measure", measure):
            choose_precision(model, "auto")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(during) == {1}
