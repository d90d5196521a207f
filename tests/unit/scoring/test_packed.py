"""Packed weights give the numbers of the layer that they were packed from."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moderation.scoring.model import ClipModel
from moderation.scoring.packed import PackedLinear, can_pack, pack
from moderation.scoring.precision import MAX_DRIFT, choose_precision
from tests.unit.scoring.stock import (
    make_model,
    random_images,
    stock_captions,
    stock_images,
    tokens_of,
)

needs_kernel = pytest.mark.skipif(
    not can_pack(nn.Linear(1, 1).bfloat16()), reason="this CPU has no kernel for packed bf16"
)
# bf16 keeps eight bits of a number.
ROUNDING = 2**-8


def _packed(clip: nn.Module) -> list[PackedLinear]:
    return [part for part in clip.modules() if isinstance(part, PackedLinear)]


@needs_kernel
@settings(max_examples=80)
@given(
    shape=st.tuples(st.integers(1, 300))
    | st.tuples(st.integers(1, 9), st.integers(1, 80))
    | st.just((2049,)),
    width_in=st.integers(1, 80),
    width_out=st.integers(1, 80),
    is_biased=st.booleans(),
    seed=st.integers(0, 100),
)
@torch.inference_mode()
def test_numbers_are_those_of_the_layer(
    shape: tuple[int, ...], width_in: int, width_out: int, is_biased: bool, seed: int
) -> None:
    """For any number of rows, flat or in batches, the product differs by bf16 rounding at most."""
    torch.manual_seed(seed)
    linear = nn.Linear(width_in, width_out, bias=is_biased).bfloat16()
    rows = torch.randn(*shape, width_in).bfloat16()
    found = PackedLinear(linear)(rows)
    assert found.dtype == torch.bfloat16
    assert found.shape == (*shape, width_out)
    exact = copy.deepcopy(linear).float()(rows.float())
    torch.testing.assert_close(found.float(), exact, atol=ROUNDING, rtol=ROUNDING)


@needs_kernel
@torch.inference_mode()
def test_rows_need_not_lie_in_a_row() -> None:
    """A transposed matrix, and none at all, are multiplied as by the layer."""
    linear = nn.Linear(5, 7).bfloat16()
    rows = torch.randn(5, 9).bfloat16().T
    for case in (rows, rows[::2], rows[:0]):
        torch.testing.assert_close(
            PackedLinear(linear)(case), linear(case), atol=ROUNDING, rtol=2 * ROUNDING
        )


@needs_kernel
def test_layers_are_packed_wherever_they_are_but_in_attention() -> None:
    """`pack` finds nested layers, and leaves attention alone, which reads its weights itself."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), attention)).bfloat16()
    pack(module)
    assert len(_packed(module)) == 2
    assert not _packed(attention)
    rows = torch.randn(1, 3, 8).bfloat16()
    assert attention(rows, rows, rows)[0].shape == (1, 3, 8)


class _Doubled(nn.Linear):
    """A layer that does something of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - its name in nn.Linear
        """Double the product."""
        return 2 * super().forward(input)


@needs_kernel
@torch.inference_mode()
def test_layers_of_other_classes_are_left_alone() -> None:
    """What only derives from a linear layer may compute anything."""
    module = nn.Sequential(_Doubled(4, 4)).bfloat16()
    rows = torch.randn(2, 4).bfloat16()
    expected = module(rows)
    pack(module)
    assert torch.equal(module(rows), expected)


def test_fp32_is_not_packed() -> None:
    """The kernels are for bf16 only."""
    assert not can_pack(nn.Linear(2, 2))


@needs_kernel
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_custom": True},
        {"is_custom": True, "text": {"proj_bias": True}},
        {"text": {"mlp_ratio": 3.0}, "vision": {"image_size": [32, 48]}},
    ],
)
def test_models_of_all_kinds_are_packed(tmp_path: Any, options: dict[str, Any]) -> None:
    """A model in bf16 has all its layers packed, projections as SigLIP's too, and stays close."""
    model = make_model(tmp_path, is_wide=True, **options)
    towers = choose_precision(model, "bf16").towers
    linear = [part for part in towers.model.clip.modules() if isinstance(part, nn.Linear)]
    assert len(_packed(towers.model.clip)) == len(linear) >= 16
    _assert_close(model, towers)


class _ReadsItsWeights(nn.Sequential):
    """A perceptron that multiplies its first layer's weights itself."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the same as the layers would."""
        first, *others = self
        product = rows @ first.weight.mT + first.bias
        for layer in others:
            product = layer(product)
        return product


@needs_kernel
@pytest.mark.parametrize("tower", ["visual", "text"])
def test_a_model_that_reads_its_weights_is_not_packed(tmp_path: Any, tower: str) -> None:
    """Where a tower does not go through its layers, it runs unpacked, as close as the others."""
    model = make_model(tmp_path, is_wide=True)
    clip = copy.deepcopy(model.clip)
    transformer = clip.visual.transformer if tower == "visual" else clip.transformer
    transformer.resblocks[0].mlp.__class__ = _ReadsItsWeights
    towers = choose_precision(replace(model, clip=clip), "bf16").towers
    assert next(towers.model.clip.parameters()).dtype == torch.bfloat16
    assert not _packed(towers.model.clip)
    _assert_close(model, towers)


def _assert_close(model: ClipModel, towers: Any) -> None:
    images, captions = random_images(model, 9), ["a dog", "two red houses", "word " * 20]
    cosines = towers.encode_images(images) @ towers.encode_captions(tokens_of(model, captions)).T
    expected = stock_images(model, images) @ stock_captions(model, captions).T
    assert abs(cosines - expected.numpy()).max() <= MAX_DRIFT
