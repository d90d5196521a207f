"""Models of both of open_clip's classes, and the vectors that open_clip alone computes with them.

Everything that makes scoring fast is held against these.
"""

import copy
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from moderation.scoring.model import ClipModel, load_model
from moderation.types import Pixels
from tests.unit.scoring.conftest import CONFIG


def make_model(
    folder: Path,
    *,
    is_custom: bool = False,
    text: dict[str, Any] | None = None,
    vision: dict[str, Any] | None = None,
    is_wide: bool = False,
) -> ClipModel:
    """A tiny model in a folder, its towers changed; custom ones are open_clip's other class.

    In a wide one, as in real models, the rounding of many numbers cancels out.
    """
    config = copy.deepcopy(CONFIG)
    towers = config["model_cfg"]
    if is_wide:
        towers["embed_dim"] = 256
        towers["text_cfg"]["width"] = towers["vision_cfg"]["width"] = 64
    towers["text_cfg"] |= text or {}
    towers["vision_cfg"] |= vision or {}
    made = open_clip.CustomTextCLIP if is_custom else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(3)
        clip = made(**copy.deepcopy(towers))
    if is_custom:
        towers["custom_text"] = True
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return load_model(f"local-dir:{folder}", device="cpu")


def random_images(model: ClipModel, count: int, *, seed: int = 0) -> list[Pixels]:
    """Images of noise in the size that the model wants, the first two of one colour."""
    size = (model.framing.height_px, model.framing.width_px, 3)
    plain = [np.zeros(size, dtype=np.uint8), np.full(size, 255, dtype=np.uint8)]
    noise = np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)
    return [*plain, *noise][:count]


@cache
def _clip(spec: str) -> Any:
    return open_clip.create_model(spec).eval().requires_grad_(False)


@torch.inference_mode()
def stock_images(model: ClipModel, pixels: Sequence[Pixels]) -> torch.Tensor:
    """Unit vectors, (n, embedding), by open_clip's own preprocessing and model."""
    preprocess = open_clip.image_transform(
        (model.framing.height_px, model.framing.width_px),
        is_train=False,
        mean=model.mean,
        std=model.std,
        interpolation=model.framing.interpolation,
        resize_mode=model.framing.resize_mode,
    )
    images = torch.stack([preprocess(PillowImage.fromarray(image)) for image in pixels])
    vectors: torch.Tensor = _clip(model.spec).encode_image(images, normalize=True)
    return vectors


@torch.inference_mode()
def stock_captions(model: ClipModel, captions: Sequence[str]) -> torch.Tensor:
    """Unit vectors, (n, embedding), by open_clip's own tokenizer and model."""
    tokens = open_clip.get_tokenizer(model.spec)(list(captions))
    vectors: torch.Tensor = _clip(model.spec).encode_text(tokens, normalize=True)
    return vectors


def tokens_of(model: ClipModel, captions: Sequence[str]) -> torch.Tensor:
    """Token ids, (n, context_length)."""
    tokens: torch.Tensor = model.tokenizer(list(captions), context_length=model.context_length)
    return tokens
