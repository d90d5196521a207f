"""A model is loaded as open_clip loads it, named by what it is, or refused with advice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from moderation.errors import ModelUnavailable
from moderation.scoring.model import ClipModel, load_model
from moderation.types import Framing

MakeFolder = Callable[..., Path]


def _load(folder: Path) -> ClipModel:
    return load_model(f"local-dir:{folder}", device="cpu")


def _refusal(spec: str, device: str = "cpu") -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load_model(spec, device=device)
    return str(caught.value)


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a tiny architecture known to open_clip by name, without weights."""
    path = tmp_path_factory.mktemp("architecture") / "captionguard-test-tiny.json"
    vision = {"image_size": 16, "patch_size": 16, "layers": 1, "width": 16, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


def test_a_folder_is_loaded_with_its_preprocessing(make_folder: MakeFolder) -> None:
    """Framing, colours and length are what the folder says, and the towers only infer."""
    folder = make_folder()
    model = _load(folder)
    assert model.spec == f"local-dir:{folder}"
    assert (model.framing.height_px, model.framing.width_px) == (32, 32)
    assert model.framing == Framing(32, 32, "bicubic", "shortest", model.framing.fill)
    assert (model.mean, model.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert model.context_length == 12
    assert model.device == torch.device("cpu")
    assert not model.clip.training
    parameters = list(model.clip.parameters())
    assert not any(parameter.requires_grad for parameter in parameters)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


def test_the_weights_are_those_of_the_file(
    make_folder: MakeFolder, weights: dict[str, torch.Tensor]
) -> None:
    """Every weight of the file is in the model, bit by bit."""
    state = _load(make_folder()).clip.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())


def test_the_fingerprint_is_the_same_at_every_load(make_folder: MakeFolder) -> None:
    """The same weights and preprocessing have one fingerprint, wherever they lie."""
    folder = make_folder("here")
    first, again, elsewhere = _load(folder), _load(folder), _load(make_folder("elsewhere"))
    assert first.fingerprint == again.fingerprint == elsewhere.fingerprint
    assert first.fingerprint == (f"{first.weights_sha256[:16]}-{first.preprocessing_sha256[:16]}")


@pytest.mark.parametrize("name", ["logit_scale", "visual.proj", "token_embedding.weight"])
def test_one_weight_changes_the_fingerprint(
    make_folder: MakeFolder, weights: dict[str, torch.Tensor], name: str
) -> None:
    """The smallest change of a single weight makes another model, with the same preprocessing."""
    weight = weights[name].clone()
    last = weight.view(-1)[-1:]
    last.copy_(torch.nextafter(last, last + 1))
    plain = _load(make_folder("plain"))
    changed = _load(make_folder("changed", changed_weights={name: weight}))
    assert changed.weights_sha256 != plain.weights_sha256
    assert changed.preprocessing_sha256 == plain.preprocessing_sha256
    assert changed.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("preprocessing", "text"),
    [
        ({"mean": [0.5, 0.4, 0.31]}, {}),
        ({"std": [0.2, 0.25, 0.31]}, {}),
        ({"interpolation": "bilinear"}, {}),
        ({"resize_mode": "squash"}, {}),
        ({"fill_color": 127}, {}),
        ({}, {"tokenizer_kwargs": {"clean": "canonicalize"}}),
    ],
)
def test_preprocessing_changes_the_fingerprint(
    make_folder: MakeFolder, preprocessing: dict[str, Any], text: dict[str, Any]
) -> None:
    """Pixels or words that reach the same weights otherwise make another model."""
    plain = _load(make_folder("plain"))
    changed = _load(make_folder("changed", preprocessing=preprocessing, text=text))
    assert changed.weights_sha256 == plain.weights_sha256
    assert changed.preprocessing_sha256 != plain.preprocessing_sha256
    assert changed.fingerprint != plain.fingerprint


def test_random_weights_are_always_the_same(architecture: str) -> None:
    """`NAME:random` gives one model, whatever was drawn before."""
    first = load_model(f"{architecture}:random", device="cpu")
    torch.rand(3)
    assert load_model(f"{architecture}:random", device="cpu").fingerprint == first.fingerprint


@pytest.mark.parametrize("spec", ["", "ViT-B-32", "ViT-B-32:", ":openai", ":", "some words"])
def test_a_spec_without_weights_is_refused(spec: str) -> None:
    """What names no weights is refused with the ways to name some."""
    message = _refusal(spec)
    assert f"{spec!r} names no weights" in message
    for form in ("NAME:PRETRAINED", "hf-hub:", "local-dir:", "NAME:random", "demo-tiny"):
        assert form in message


@pytest.mark.parametrize("spec", ["NoSuchNet:openai", "NoSuchNet:random"])
def test_an_unknown_architecture_is_refused(spec: str) -> None:
    """The message names it and how to print those that there are."""
    message = _refusal(spec)
    assert "knows no architecture 'NoSuchNet'" in message
    assert "list_models()" in message


def test_unknown_weights_are_refused(architecture: str) -> None:
    """A name that no weights have is refused, with what to check."""
    message = _refusal(f"{architecture}:no-such-weights")
    assert f"{architecture}:no-such-weights" in message
    assert "Check the name" in message
    assert "local-dir:" in message


def test_a_missing_weights_file_is_refused(architecture: str, tmp_path: Path) -> None:
    """A path to weights that are not there is refused as a path."""
    assert "Check that the file exists" in _refusal(f"{architecture}:{tmp_path / 'none.pt'}")


def _no_weights(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()


def _no_config(folder: Path) -> None:
    (folder / "open_clip_config.json").unlink()


def _broken_config(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text("{")


def _other_config(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text('{"model": "something else"}')


def _other_architecture(folder: Path) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["embed_dim"] = 16
    path.write_text(json.dumps(config))


def _cut_weights(folder: Path) -> None:
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _no_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    "damage",
    [
        _no_folder,
        _no_weights,
        _no_config,
        _broken_config,
        _other_config,
        _other_architecture,
        _cut_weights,
    ],
)
def test_a_damaged_folder_is_refused(
    make_folder: MakeFolder, damage: Callable[[Path], None]
) -> None:
    """A folder that lacks something is never filled up with random weights, but refused."""
    folder = make_folder()
    damage(folder)
    message = _refusal(f"local-dir:{folder}")
    assert f"local-dir:{folder} cannot be loaded: " in message
    assert "needs open_clip_config.json and open_clip_model.safetensors" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(make_folder: MakeFolder) -> None:
    """Who asks for a GPU does not get a CPU, but is told which setting to change."""
    message = _refusal(f"local-dir:{make_folder()}", device="cuda")
    assert "CAPTIONGUARD_DEVICE" in message
    assert "auto" in message
