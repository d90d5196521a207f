"""Weights of linear layers, stored once in the order in which the CPU's bf16 kernels read them.

oneDNN otherwise reorders them in each call, which costs most where batches are small. The two
operators are those that `torch.compile` itself uses for frozen models on CPUs.
"""

import torch
from torch import nn

# A hint for the order; any number of rows can be multiplied afterwards.
_ROWS = 2048


class PackedLinear(nn.Linear):
    """A linear layer for inference whose weights lie as the kernel wants them.

    It is an `nn.Linear` because open_clip asks whether a projection is one.
    """

    def __init__(self, linear: nn.Linear) -> None:
        # Not nn.Linear's own, which would make weights.
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # A plain attribute: packed weights cannot be saved or copied like parameters.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - its name in nn.Linear
        """Multiply (…, in) to (…, out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self.weight, self.bias, "none", [], ""
        )
        return product


def can_pack(clip: nn.Module) -> bool:
    """Whether this module's weights are on a CPU whose kernels take packed bf16."""
    first = next(clip.parameters())
    return (
        first.device.type == "cpu"
        and first.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def pack(module: nn.Module) -> None:
    """Replace the linear layers in `module` by packed ones, in place.

    Layers inside an `nn.MultiheadAttention`, which reads their weights itself, are left.
    """
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear(child))
        elif not isinstance(child, nn.MultiheadAttention):
            pack(child)
