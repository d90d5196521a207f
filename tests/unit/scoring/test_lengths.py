"""Cutting captions to their length changes no vector, or it is not done."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.scoring.attention import with_lean_attention
from moderation.scoring.clones import clone
from moderation.scoring.lengths import TextTower
from moderation.scoring.model import ClipModel
from tests.unit.scoring.stock import make_model, tokens_of
from tests.unit.threads import all_at_once

WORDS = st.lists(st.sampled_from(["dog", "red", "house", "naïve", "犬", "!"]), max_size=14)


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
    model = make_model(tmp_path, is_custom=True, text={"no_causal_mask": True, "pool_type": "last"})
    tower = TextTower(model)
    assert not tower.can_cut
    tokens = model.tokenizer(["a dog"], context_length=model.context_length)
    with torch.inference_mode():
        assert torch.equal(tower.encode(tokens), model.clip.encode_text(tokens))


def test_a_causal_tower_of_the_other_class_is_cut(tmp_path: Path) -> None:
    """open_clip's CustomTextCLIP is cut as well, with the same vectors."""
    model = make_model(tmp_path, is_custom=True)
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


LONG = 44
FEWEST = 8


@pytest.fixture(scope="module", params=[False, True], ids=["CLIP", "CustomTextCLIP"])
def long_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with room for many words, which is no multiple of a step, and its tower."""
    folder = tmp_path_factory.mktemp("long")
    model = make_model(folder, is_custom=request.param, text={"context_length": LONG})
    model = with_lean_attention(model)
    tower = TextTower(model)
    assert tower.can_cut
    return model, tower


def _captions(lengths: list[int]) -> list[str]:
    """Captions of so many words, each another."""
    words = ("dog", "cat", "red", "house", "tree")
    return [
        " ".join(words[(row + place * (row + 1)) % 5] for place in range(length))
        for row, length in enumerate(lengths)
    ]


def _watched(model: ClipModel) -> tuple[TextTower, list[tuple[int, int]]]:
    """A tower of the same weights, and the rows and the length of each of its passes to be."""
    seen: list[tuple[int, int]] = []
    clip = clone(model.clip)
    transformer = clip.transformer if hasattr(clip, "transformer") else clip.text.transformer
    transformer.register_forward_pre_hook(
        lambda module, arguments: seen.append(tuple(arguments[0].shape[:2]))
    )
    return TextTower(replace(model, clip=clip), can_cut=True), seen


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, LONG + 5), min_size=1, max_size=40))
def test_any_mixture_of_lengths_keeps_its_rows(long_model: Any, lengths: list[int]) -> None:
    """Whichever buckets captions fall into, each row has the vector of its own caption."""
    model, tower = long_model
    tokens = tokens_of(model, _captions(lengths))
    with torch.inference_mode():
        expected = model.clip.encode_text(tokens)
        torch.testing.assert_close(tower.encode(tokens), expected, atol=1e-5, rtol=1e-4)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, LONG + 5), min_size=1, max_size=60))
def test_each_row_is_encoded_once_in_few_passes(long_model: Any, lengths: list[int]) -> None:
    """Passes cover each row once, are as long as one of their rows needs, and hold eight rows.

    Only the longest may hold fewer.
    """
    model, _ = long_model
    tower, seen = _watched(model)
    with torch.inference_mode():
        tower.encode(tokens_of(model, _captions(lengths)))
    # Two places go to start and end, and one to padding, which may be what ends a caption.
    needed = [min(LONG, -(-(words + 3) // 8) * 8) for words in lengths]
    assert sum(rows for rows, _ in seen) == len(lengths)
    passes = [length for _, length in seen]
    assert passes == sorted(passes)
    assert set(passes) <= set(needed)
    assert passes[-1] == max(needed)
    assert all(rows >= FEWEST for rows, _ in seen[:-1])
    # As many as can go short do, but for a few that wait for company.
    for length in sorted(set(passes))[:-1]:
        done = sum(rows for rows, own in seen if own <= length)
        short = sum(own <= length for own in needed)
        assert short - FEWEST < done <= short


def test_many_short_captions_do_not_wait_for_a_long_one(long_model: Any) -> None:
    """Eight short captions and a long one take two passes, and seven take one."""
    model, _ = long_model
    for short, expected in ((8, [(8, 8), (1, LONG)]), (7, [(8, LONG)])):
        tower, seen = _watched(model)
        with torch.inference_mode():
            tower.encode(tokens_of(model, _captions([3] * short + [LONG])))
        assert seen == expected


def test_threads_with_other_lengths_do_not_disturb_each_other(long_model: Any) -> None:
    """Many threads encode at once, each another length, over and over; all vectors are right."""
    model, tower = long_model
    batches = [tokens_of(model, _captions([words] * 9)) for words in (2, 9, 17, 25, 33, 42, 50, 4)]
    with torch.inference_mode():
        expected = [model.clip.encode_text(tokens) for tokens in batches]

    @torch.inference_mode()
    def encode(number: int) -> float:
        return max(
            float((tower.encode(batches[number]) - expected[number]).abs().max()) for _ in range(40)
        )

    worst = all_at_once([partial(encode, number) for number in range(len(batches))])
    assert max(worst) < 1e-4


def test_no_captions_are_an_error(model: ClipModel) -> None:
    """There is no vector of nothing."""
    with pytest.raises(ValueError, match="no captions"):
        TextTower(model).encode(torch.zeros(0, model.context_length, dtype=torch.int64))
