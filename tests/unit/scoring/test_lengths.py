"""Cutting captions to the longest of a batch changes no cosine, or it is not done."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel, load_model
from tests.unit.scoring.conftest import CONFIG

WORDS = st.lists(st.sampled_from(["dog", "red", "house", "naïve", "犬", "!"]), max_size=14)


def custom(tmp_path: Path, **text: object) -> ClipModel:
    """A model of open_clip's other class, with its text tower changed."""
    model_cfg = {**CONFIG["model_cfg"], "custom_text": True}
    model_cfg["text_cfg"] = {**model_cfg["text_cfg"], **text}
    torch.manual_seed(3)
    built = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    clip = open_clip.CustomTextCLIP(**json.loads(json.dumps(built)))
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model_cfg, "preprocess_cfg": CONFIG["preprocess_cfg"]})
    )
    state = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    return load_model(f"local-dir:{tmp_path}", device="cpu")


@settings(max_examples=40)
@given(captions=st.lists(WORDS.map(" ".join), min_size=1, max_size=9))
def test_vectors_are_those_of_the_full_length(model: ClipModel, captions: list[str]) -> None:
    """For any captions in any company, the vectors are open_clip's own at full length."""
    tower = TextTower(model)
    assert tower.can_cut
    tokens = model.tokenizer(captions, context_length=model.context_length)
    with torch.inference_mode():
        expected = model.clip.encode_text(tokens)
        torch.testing.assert_close(tower.encode(tokens), expected, atol=1e-5, rtol=1e-4)


def test_short_captions_take_a_short_tower(model: ClipModel) -> None:
    """The transformer sees as many places as the longest caption needs, in steps."""
    seen: list[int] = []
    hook = model.clip.transformer.register_forward_pre_hook(
        lambda module, arguments: seen.append(arguments[0].shape[1])
    )
    try:
        tower = TextTower(model)
        seen.clear()
        for caption in ("a dog", "word " * 30):
            with torch.inference_mode():
                tower.encode(model.tokenizer([caption], context_length=model.context_length))
    finally:
        hook.remove()
    assert seen == [8, model.context_length]


def test_a_tower_that_reads_ahead_is_left_alone(tmp_path: Path) -> None:
    """A text tower without a causal mask, as SigLIP's, runs at full length."""
    model = custom(tmp_path, no_causal_mask=True, pool_type="last")
    tower = TextTower(model)
    assert not tower.can_cut
    tokens = model.tokenizer(["a dog"], context_length=model.context_length)
    with torch.inference_mode():
        assert torch.equal(tower.encode(tokens), model.clip.encode_text(tokens))


def test_a_causal_tower_of_the_other_class_is_cut(tmp_path: Path) -> None:
    """open_clip's CustomTextCLIP is cut as well, with the same vectors."""
    model = custom(tmp_path)
    tower = TextTower(model)
    assert tower.can_cut
    tokens = model.tokenizer(["a dog", "two red houses"], context_length=model.context_length)
    with torch.inference_mode():
        torch.testing.assert_close(
            tower.encode(tokens), model.clip.encode_text(tokens), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("end", ["<end_of_text>", "<END_OF_TEXT>"])
def test_an_end_in_the_middle_changes_nothing(model: ClipModel, end: str) -> None:
    """Captions that spell the end token get the vectors they have at full length."""
    tokens = model.tokenizer([f"a dog {end} a cat"], context_length=model.context_length)
    with torch.inference_mode():
        torch.testing.assert_close(
            TextTower(model).encode(tokens), model.clip.encode_text(tokens), atol=1e-5, rtol=1e-4
        )
