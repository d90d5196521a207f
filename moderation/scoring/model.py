"""Loads any open_clip model and says exactly which one it is."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import open_clip
import torch

from moderation.demo import MODEL_CONFIG, MODEL_NAME, MODEL_WEIGHTS
from moderation.errors import ModelUnavailable
from moderation.types import Framing

RANDOM_SEED = 20_240_229

Tokenizer = Callable[..., torch.Tensor]


@dataclass(frozen=True, slots=True)
class ClipModel:
    """A loaded model: towers in fp32 on `device`, and what pixels and captions must become.

    `weights_sha256` covers every parameter's name, shape and fp32 bytes;
    `preprocessing_sha256` covers framing, colours and what the tokenizer makes of probes.
    """

    spec: str
    clip: open_clip.CLIP
    tokenizer: Tokenizer
    context_length: int
    framing: Framing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device
    weights_sha256: str
    preprocessing_sha256: str

    @property
    def fingerprint(self) -> str:
        """Names these weights with this preprocessing; a calibration is made for one."""
        return f"{self.weights_sha256[:16]}-{self.preprocessing_sha256[:16]}"


def load_model(spec: str, *, device: str = "auto") -> ClipModel:
    """Load `NAME:PRETRAINED`, `hf-hub:…`, `local-dir:…`, `NAME:random` or the bundled model.

    Weights that are not here are fetched with a progress bar. Raises `ModelUnavailable`
    with what to do.
    """
    target = _device(device)
    name, pretrained = _parse(spec)
    # The hub client warns of each of its retries twice; the error below says it once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        if name == MODEL_NAME:
            open_clip.add_model_config(MODEL_CONFIG)
            clip = open_clip.create_model(name, pretrained=str(MODEL_WEIGHTS))
        elif pretrained == "random":
            torch.manual_seed(RANDOM_SEED)
            clip = open_clip.create_model(name, pretrained_text=False)
        else:
            clip = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(name)
    # open_clip and the hub client raise many types; each means this model is not to be had.
    except Exception as error:
        raise ModelUnavailable(_advice(spec, error)) from error
    clip = clip.float().eval().requires_grad_(False).to(target)
    cfg = open_clip.get_model_preprocess_cfg(clip)
    size = cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    framing = Framing(
        height_px=height,
        width_px=width,
        interpolation=cfg["interpolation"],
        resize_mode=cfg["resize_mode"],
        fill=cfg["fill_color"],
    )
    mean, std = tuple(cfg["mean"]), tuple(cfg["std"])
    context_length = int(getattr(tokenizer, "context_length", None) or clip.context_length)
    return ClipModel(
        spec=spec,
        clip=clip,
        tokenizer=tokenizer,
        context_length=context_length,
        framing=framing,
        mean=mean,
        std=std,
        device=target,
        weights_sha256=_hash_weights(clip),
        preprocessing_sha256=_hash_preprocessing(framing, mean, std, tokenizer, context_length),
    )


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelUnavailable(
            "CAPTIONGUARD_DEVICE is cuda, but torch sees no GPU; set it to auto."
        )
    return torch.device(wanted)


def _parse(spec: str) -> tuple[str, str | None]:
    if spec.startswith(("hf-hub:", "local-dir:")) or spec == MODEL_NAME:
        return spec, None
    name, separator, pretrained = spec.partition(":")
    if not separator or not name or not pretrained:
        raise ModelUnavailable(
            f"{spec!r} names no weights. Write NAME:PRETRAINED such as ViT-B-32:laion2b_s34b_b79k, "
            "hf-hub:ORGANISATION/MODEL, local-dir:FOLDER, NAME:random, or demo-tiny."
        )
    return name, pretrained


def _advice(spec: str, error: Exception) -> str:
    name, _, pretrained = spec.partition(":")
    said = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    if name == "local-dir":
        hint = "The folder needs open_clip_config.json and open_clip_model.safetensors."
    elif isinstance(error, ImportError):
        hint = "Its tokenizer needs more: pip install 'captionguard[transformers]'."
    elif name not in ("hf-hub", MODEL_NAME) and name not in open_clip.list_models():
        said = f"open_clip knows no architecture {name!r}."
        hint = "Print those it knows: python -c 'import open_clip; print(open_clip.list_models())'."
    elif name != "hf-hub" and os.path.sep in pretrained:
        hint = "Check that the file exists and belongs to this architecture."
    else:
        hint = (
            "Check the name and that this machine reaches the model hub; without network, copy "
            "a model folder here and use local-dir:FOLDER."
        )
    return f"The model {spec} cannot be loaded: {said} {hint}"


def _hash_weights(clip: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.detach().float().cpu().contiguous().numpy()).cast("B"))
    return digest.hexdigest()


def _hash_preprocessing(
    framing: Framing,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    tokenizer: Tokenizer,
    context_length: int,
) -> str:
    # Probing says more than a class name: two tokenizers with the same answers are the same.
    probes = ["a photo of two red dogs", "ÀÉ naïve 東京 😀", "3 < 4 & 'x'", "word " * 200]
    document: dict[str, Any] = {
        "framing": asdict(framing),
        "mean": mean,
        "std": std,
        "context_length": context_length,
        "tokens": tokenizer(probes).tolist(),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
