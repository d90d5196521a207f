"""A clone is another structure over the same tensors."""

import pytest
import torch
from torch import nn

from moderation.scoring.clones import clone
from moderation.scoring.packed import PackedLinear, can_pack


class _Tied(nn.Module):
    """Two layers with one weight, a buffer that is saved and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.register_buffer("saved", torch.arange(3.0))
        self.register_buffer("mask", torch.ones(3), persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Use all of it."""
        result: torch.Tensor = self.other(self.one(rows)) * self.mask + self.saved
        return result


def test_tensors_are_shared_and_modules_are_not() -> None:
    """Parameters and buffers are the very same, ties included; every module is another."""
    module = _Tied()
    copied = clone(module)
    originals = dict(module.named_parameters())
    assert all(tensor is originals[name] for name, tensor in copied.named_parameters())
    assert (copied.saved is module.saved, copied.mask is module.mask) == (True, True)
    assert copied.one.weight is copied.other.weight is module.one.weight
    assert not set(map(id, module.modules())) & set(map(id, copied.modules()))
    rows = torch.randn(2, 3)
    assert torch.equal(copied(rows), module(rows))


def test_a_module_replaced_in_a_clone_stays_in_the_original() -> None:
    """Changing the structure of one leaves the other as it was."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    copied = clone(module)
    copied[0] = nn.Identity()
    assert isinstance(module[0], nn.Linear)


def test_a_tensor_becomes_what_it_is_replaced_by() -> None:
    """Wherever it is used in the clone, and nowhere in the original."""
    module = _Tied()
    weight, mask = nn.Parameter(torch.zeros(3, 3)), torch.zeros(3)
    old_weight, old_mask = module.one.weight, module.mask
    copied = clone(module, {module.one.weight: weight, module.mask: mask})
    assert copied.one.weight is copied.other.weight is weight
    assert copied.mask is mask
    assert copied.one.bias is module.one.bias
    assert module.one.weight is module.other.weight is old_weight
    assert module.mask is old_mask


@pytest.mark.skipif(
    not can_pack(nn.Linear(1, 1).bfloat16()), reason="this CPU has no kernel for packed bf16"
)
@torch.inference_mode()
def test_packed_layers_are_shared() -> None:
    """Packed weights, which nothing can copy, are the same in the clone and still work."""
    module = nn.Sequential(nn.Sequential(PackedLinear(nn.Linear(4, 4).bfloat16())))
    copied = clone(module)
    assert copied[0] is not module[0]
    assert copied[0][0].weight is module[0][0].weight
    rows = torch.randn(2, 4).bfloat16()
    assert torch.equal(copied(rows), module(rows))
