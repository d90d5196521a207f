"""Lean attention computes what open_clip's does, on the same weights, or is not used."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moderation.scoring.attention import SelfAttention, with_lean_attention
from moderation.scoring.model import ClipModel
from tests.unit.scoring.stock import (
    make_model,
    random_images,
    stock_captions,
    stock_images,
    tokens_of,
)

KINDS: dict[str, dict[str, Any]] = {
    "CLIP with a causal mask": {},
    "CustomTextCLIP with a causal mask": {"is_custom": True},
    "CustomTextCLIP without a mask": {
        "is_custom": True,
        "text": {"no_causal_mask": True, "pool_type": "last"},
    },
}
WORDS = st.lists(st.sampled_from(["dog", "red", "house", "犬", "!"]), max_size=14).map(" ".join)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipModel]:
    """A model of each kind."""
    folder = tmp_path_factory.mktemp("attention")
    return {
        kind: make_model(folder / str(number), **options)
        for number, (kind, options) in enumerate(KINDS.items())
    }


def _attentions(module: nn.Module) -> list[nn.MultiheadAttention]:
    return [part for part in module.modules() if isinstance(part, nn.MultiheadAttention)]


@settings(max_examples=60)
@given(
    n=st.integers(1, 6),
    length=st.integers(1, 20),
    heads=st.sampled_from([1, 2, 4]),
    is_biased=st.booleans(),
    is_masked=st.booleans(),
    seed=st.integers(0, 100),
)
def test_attention_is_that_of_torch(
    n: int, length: int, heads: int, is_biased: bool, is_masked: bool, seed: int
) -> None:
    """For any shape, with and without bias and mask, the result is `nn.MultiheadAttention`'s."""
    torch.manual_seed(seed)
    stock = nn.MultiheadAttention(16, heads, bias=is_biased, batch_first=True).eval()
    if is_biased:
        # They start as zeros, which would hide that one is forgotten.
        nn.init.normal_(stock.in_proj_bias)
        nn.init.normal_(stock.out_proj.bias)
    rows = torch.randn(n, length, 16)
    mask = torch.full((length, length), float("-inf")).triu(1) if is_masked else None
    with torch.inference_mode():
        expected, _ = stock(rows, rows, rows, need_weights=False, attn_mask=mask)
        found, weights = SelfAttention(stock)(rows, rows, rows, attn_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert weights is None


def test_attention_refuses_what_it_cannot_do() -> None:
    """Attention to something else, or its weights, are an error and not a wrong answer."""
    lean = SelfAttention(nn.MultiheadAttention(16, 2, batch_first=True))
    rows, others = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    with pytest.raises(NotImplementedError):
        lean(rows, others, rows)
    with pytest.raises(NotImplementedError):
        lean(rows, rows, others)
    with pytest.raises(NotImplementedError):
        lean(rows, rows, rows, need_weights=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(n_images=st.integers(1, 7), captions=st.lists(WORDS, min_size=1, max_size=7))
def test_vectors_are_open_clips(
    models: dict[str, ClipModel], kind: str, n_images: int, captions: list[str]
) -> None:
    """With all of its attention replaced, a model's vectors are stock open_clip's."""
    model = models[kind]
    lean = with_lean_attention(model)
    assert _attentions(model.clip)
    assert not _attentions(lean.clip)
    images = random_images(model, n_images)
    mean, std = torch.tensor(model.mean).view(3, 1, 1), torch.tensor(model.std).view(3, 1, 1)
    normalised = torch.stack(
        [(torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std for image in images]
    )
    with torch.inference_mode():
        found = lean.clip.encode_image(normalised, normalize=True)
        texts = lean.clip.encode_text(tokens_of(model, captions), normalize=True)
    torch.testing.assert_close(found, stock_images(model, images), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(texts, stock_captions(model, captions), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "odd",
    [
        {"batch_first": False},
        {"batch_first": True, "add_bias_kv": True},
        {"batch_first": True, "add_zero_attn": True},
        {"batch_first": True, "kdim": 8, "vdim": 8},
    ],
)
def test_attention_of_another_kind_is_left_alone(model: ClipModel, odd: dict[str, Any]) -> None:
    """What lean attention cannot stand for stays, while all others are replaced."""
    clip = copy.deepcopy(model.clip)
    clip.odd = nn.Sequential(nn.MultiheadAttention(32, 2, **odd))
    lean = with_lean_attention(replace(model, clip=clip))
    assert [type(part) for part in lean.clip.odd] == [nn.MultiheadAttention]
    assert len(_attentions(lean.clip)) == 1


class _Louder(nn.MultiheadAttention):
    """Attention that does something of its own."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a little to the first place, in which images are summed up."""
        mixed, weights = super().forward(*args, **kwargs)
        mixed[:, 0, 0] += 0.5
        return mixed, weights


@pytest.mark.parametrize("tower", ["visual", "text"])
def test_a_model_whose_vectors_would_change_keeps_its_attention(
    model: ClipModel, tower: str
) -> None:
    """One layer that computes something else, in either tower, and nothing is replaced."""
    clip = copy.deepcopy(model.clip)
    transformer = clip.visual.transformer if tower == "visual" else clip.transformer
    transformer.resblocks[0].attn.__class__ = _Louder
    changed = replace(model, clip=clip)
    assert with_lean_attention(changed) is changed


@pytest.mark.parametrize("heads", [1, 2])
def test_a_mask_for_each_caption_is_not_lost(tmp_path: Any, heads: int) -> None:
    """A tower with a token that sees no padding, as CoCa's, has other masks: it stays."""
    model = make_model(
        tmp_path, is_custom=True, text={"embed_cls": True, "pad_id": 0, "heads": heads}
    )
    lean = with_lean_attention(model)
    tokens = tokens_of(model, ["a dog", "two red houses and a dog", ""])
    with torch.inference_mode():
        assert torch.equal(lean.clip.encode_text(tokens), model.clip.encode_text(tokens))
    assert len(_attentions(lean.clip)) == len(_attentions(model.clip)) == 4


def test_the_model_itself_stays_as_it_was(model: ClipModel) -> None:
    """Who holds the loaded model finds its own attention in it, with the same vectors."""
    tokens = tokens_of(model, ["a dog", "two red houses"])
    with torch.inference_mode():
        before = model.clip.encode_text(tokens)
        count = len(_attentions(model.clip))
        lean = with_lean_attention(model)
        assert torch.equal(model.clip.encode_text(tokens), before)
    assert lean is not model
    assert len(_attentions(model.clip)) == count == 4


def test_the_weights_are_not_there_twice(model: ClipModel) -> None:
    """Every tensor of the lean model lies where the loaded one's does."""

    def places(clip: nn.Module) -> set[int]:
        tensors = [*clip.parameters(), *clip.buffers()]
        return {tensor.untyped_storage().data_ptr() for tensor in tensors}

    assert places(with_lean_attention(model).clip) == places(model.clip)
