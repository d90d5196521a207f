"""A tiny CLIP model with random weights, as a folder that any open_clip can load."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from moderation.scoring.model import ClipModel, load_model

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 16,
            "layers": 2,
            "width": 32,
            "head_width": 16,
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}

MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread: a tiny model gains nothing by more, and a busy machine loses much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def weights() -> dict[str, torch.Tensor]:
    """Return random weights of the tiny model, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return dict(open_clip.CLIP(**copy.deepcopy(CONFIG["model_cfg"])).state_dict())


@pytest.fixture
def make_folder(tmp_path: Path, weights: dict[str, torch.Tensor]) -> MakeFolder:
    """Return what writes a model's folder, with some weights or settings changed."""

    def make(
        name: str = "model",
        *,
        changed_weights: dict[str, torch.Tensor] | None = None,
        preprocessing: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = copy.deepcopy(CONFIG)
        config["preprocess_cfg"] |= preprocessing or {}
        config["model_cfg"]["text_cfg"] |= text or {}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        save_file(weights | (changed_weights or {}), folder / "open_clip_model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, torch.Tensor]) -> ClipModel:
    """Load the tiny model once."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    save_file(weights, folder / "open_clip_model.safetensors")
    return load_model(f"local-dir:{folder}", device="cpu")
