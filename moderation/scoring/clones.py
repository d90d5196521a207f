"""Copies of a module's structure over the same weights, so that a copy costs next to nothing."""

import copy
from collections.abc import Mapping
from itertools import chain
from typing import TypeVar

import torch

from moderation.scoring.packed import PackedLinear

M = TypeVar("M", bound=torch.nn.Module)


def clone(module: M, replaced: Mapping[torch.Tensor, torch.Tensor] | None = None) -> M:
    """Copy modules, share tensors; those in `replaced` become what they stand for."""
    shared = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    shared |= {id(old): new for old, new in (replaced or {}).items()}
    packed = {id(part): part for part in module.modules() if isinstance(part, PackedLinear)}
    return copy.deepcopy(module, {**shared, **packed})
