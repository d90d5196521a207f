"""The demo model, made and loaded by stock open_clip, and its weights' way to disk."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from moderation.demo import MODEL_CONFIG, MODEL_NAME, MODEL_WEIGHTS


@dataclass(frozen=True, slots=True)
class DemoModel:
    """The towers, the image preprocessing and the tokenizer, as open_clip hands them out."""

    towers: open_clip.CLIP
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenizer: open_clip.SimpleTokenizer


def new_towers() -> open_clip.CLIP:
    """Return an untrained model."""
    open_clip.add_model_config(MODEL_CONFIG)
    return open_clip.create_model(MODEL_NAME, pretrained=None)


def load(weights: Path = MODEL_WEIGHTS) -> DemoModel:
    """Load weights the way the product does; they are stored in fp16 and computed with in fp32."""
    open_clip.add_model_config(MODEL_CONFIG)
    towers, _, preprocess = open_clip.create_model_and_transforms(
        MODEL_NAME, pretrained=str(weights), precision="fp32"
    )
    towers.eval()
    return DemoModel(towers, preprocess, open_clip.get_tokenizer(MODEL_NAME))


def save(towers: open_clip.CLIP, path: Path, seen: torch.Tensor, about: dict[str, str]) -> None:
    """Write the weights in fp16, at once or not at all.

    `seen`, bool (vocabulary,), tells which tokens training has met. The others' rows are zeroed:
    a word that the world never says means nothing, and zeros pack well.
    """
    state = {
        name: tensor.detach().to(torch.float16) for name, tensor in towers.state_dict().items()
    }
    table = "token_embedding.weight"
    state[table] = state[table] * seen[:, None]
    part = path.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, part, about)
    part.chmod(0o644)  # part of the package: readable by whoever runs it
    part.replace(path)
