"""Self-attention without the detours of `nn.MultiheadAttention`.

In bf16 on a CPU that module copies its output matrix once for each text of a batch, which
takes two thirds of a text tower's time. The same weights do the same here with
`scaled_dot_product_attention`.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention

from moderation.scoring.clones import clone
from moderation.scoring.model import ClipModel
from moderation.scoring.probes import probe_images, probe_tokens

# Sums in another order differ by rounding; this is far below what a cosine shows.
_SAME = 1e-5
_PROBES = 3


class SelfAttention(nn.Module):
    """What an `nn.MultiheadAttention` computes at inference, on its own weights."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = attention.num_heads
        self._into = _linear(attention.in_proj_weight, attention.in_proj_bias)
        self._out = _linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Attend within (n, length, width); what the other arguments ask for must be the same."""
        if key is not query or value is not query or need_weights:
            raise NotImplementedError("only self-attention, without weights")
        n, length, width = query.shape
        heads = self._into(query).view(n, length, 3, self._heads, width // self._heads)
        # (3, n, heads, length, width of a head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self._out(mixed.transpose(1, 2).reshape(n, length, width)), None


def with_lean_attention(model: ClipModel) -> ClipModel:
    """The model with its attention replaced, if that changes no vector; else as it is.

    The weights are shared with `model`, which stays as it was.
    """
    lean = replace(model, clip=clone(model.clip))
    _replace(lean.clip)
    return lean if _are_same(model, lean) else model


@torch.inference_mode()
def _are_same(model: ClipModel, lean: ClipModel) -> bool:
    images, tokens = probe_images(model, _PROBES), probe_tokens(model, _PROBES)
    try:
        alike = (
            cosine_similarity(model.clip.encode_image(images), lean.clip.encode_image(images)),
            cosine_similarity(model.clip.encode_text(tokens), lean.clip.encode_text(tokens)),
        )
    # Whatever a model does with its attention that this one cannot do.
    except (RuntimeError, AttributeError, TypeError):
        return False
    return bool((torch.cat(alike) > 1 - _SAME).all())


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MultiheadAttention):
            if _is_plain(child):
                setattr(module, name, SelfAttention(child))
        else:
            _replace(child)


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    return (
        attention.batch_first
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
    )


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """A linear layer on weights that are there already."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
