"""Images and captions on which a model is tried when it is loaded."""

import numpy as np
import torch

from moderation.scoring.model import ClipModel
from moderation.types import Pixels

CAPTIONS = (
    "a dog",
    "two red balls left of a blue house",
    "a busy street at night",
    "a man in a green coat walks his dog along the beach while the sun goes down over the sea",
    "soup",
)
TOO_LONG = "word " * 300


def probe_pixels(model: ClipModel, count: int) -> list[Pixels]:
    """Framed images, uint8 (height, width, 3): blurred noise is nearer to photos than noise."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(count, 3, 14, 14, generator=generator)
    size = (model.framing.height_px, model.framing.width_px)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    levels = (images * 60 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return list(levels.contiguous().numpy())


def probe_images(model: ClipModel, count: int) -> torch.Tensor:
    """The same as stock open_clip hands them to its model, fp32 (count, 3, height, width)."""
    pixels = torch.from_numpy(np.stack(probe_pixels(model, count))).permute(0, 3, 1, 2)
    mean, std = torch.tensor(model.mean).view(3, 1, 1), torch.tensor(model.std).view(3, 1, 1)
    return ((pixels.float() / 255 - mean) / std).to(model.device)


def probe_tokens(model: ClipModel, count: int) -> torch.Tensor:
    """Token ids, (count, context_length), of captions of several lengths."""
    captions = [CAPTIONS[index % len(CAPTIONS)] for index in range(count)]
    tokens: torch.Tensor = model.tokenizer(captions, context_length=model.context_length)
    return tokens.to(model.device)
