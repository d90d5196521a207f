"""Which numbers the towers compute with: bf16 where it is much faster and close enough."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel

Wanted = Literal["auto", "fp32", "bf16"]

# A cosine may move so far; a calibration with a slope of 30 then moves a score by 0.04 at most.
MAX_DRIFT = 0.005
# Much faster, or timing noise would let two starts choose differently and score differently.
_MUCH_FASTER = 2.0
# Fewer pairs would hide what bf16 gains: measured on ViT-B-32, 1.6 with 8 and 4.0 with 64.
_PROBE_PAIRS = 32
_LONG_RUN_S = 2.0
_PROBES = ("a dog", "two red balls left of a blue house", "a busy street at night", "soup")


@dataclass(frozen=True, slots=True)
class Choice:
    """The model to compute with, and what was measured; times of `_PROBE_PAIRS` pairs."""

    model: ClipModel
    precision: Literal["fp32", "bf16"]
    fp32_s: float | None = None
    bf16_s: float | None = None
    max_drift: float | None = None


@torch.inference_mode()
def choose_precision(model: ClipModel, wanted: Wanted, *, can_cut: bool) -> Choice:
    """Take what is wanted or, with auto, bf16 where a short measurement speaks for it.

    Captions are cut as in earnest where the model's tower can be.
    """
    if wanted == "fp32":
        return Choice(model, "fp32")
    halved = replace(model, clip=copy.deepcopy(model.clip).to(torch.bfloat16))
    if wanted == "bf16":
        return Choice(halved, "bf16")
    images, tokens = _probes(model)
    exact, fp32_s = _measure(model, images, tokens, can_cut)
    try:
        close, bf16_s = _measure(halved, images, tokens, can_cut)
    except RuntimeError:
        # Some operation of this model or device does not know bf16.
        return Choice(model, "fp32", fp32_s)
    drift = float((exact - close).abs().max())
    is_better = drift <= MAX_DRIFT and fp32_s > _MUCH_FASTER * bf16_s
    return Choice(
        halved if is_better else model, "bf16" if is_better else "fp32", fp32_s, bf16_s, drift
    )


def _probes(model: ClipModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Blurred noise, which is nearer to photos than noise is, and captions."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(_PROBE_PAIRS, 3, 14, 14, generator=generator)
    size = (model.framing.height_px, model.framing.width_px)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    captions = [_PROBES[index % len(_PROBES)] for index in range(_PROBE_PAIRS)]
    tokens = model.tokenizer(captions, context_length=model.context_length)
    return images.to(model.device), tokens.to(model.device)


def _measure(
    model: ClipModel, images: torch.Tensor, tokens: torch.Tensor, can_cut: bool
) -> tuple[torch.Tensor, float]:
    """Cosines of all probes with all probes, and the shorter of two runs in seconds."""
    dtype = next(model.clip.parameters()).dtype
    encode_image: Callable[..., torch.Tensor] = model.clip.encode_image
    text_tower = TextTower(model, can_cut=can_cut)
    took_s: list[float] = []
    # A second run tells warming up from speed; a long one needs no second.
    while not took_s or (len(took_s) == 1 and took_s[0] < _LONG_RUN_S):
        started_s = time.perf_counter()
        image_vectors = encode_image(images.to(dtype), normalize=True).float()
        text_vectors = torch.nn.functional.normalize(text_tower.encode(tokens).float(), dim=-1)
        # Copying to the CPU waits for the device.
        cosines = (image_vectors @ text_vectors.T).cpu()
        took_s.append(time.perf_counter() - started_s)
    return cosines, min(took_s)
