"""Labelled pairs from a file, and shuffled ones where there are no labels."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import InputRefused
from moderation.scoring.model import load_model
from moderation.settings import Settings
from tests.integration.conftest import picture
from thresholds.pairs import Pair, read_pairs, score_pairs, shuffled


def _pair(image: str, caption: str) -> Pair:
    return Pair(image=image, data=image.encode(), caption=caption, is_match=True)


PAIRS = st.lists(
    st.builds(_pair, st.sampled_from("ABCDE"), st.sampled_from(["a", "b", "c", "d", "e", "f"])),
    max_size=20,
)


def _write(folder: Path, *lines: Any) -> Path:
    for name in ("dog.jpg", "cat.jpg"):
        (folder / name).write_bytes(name.encode())
    path = folder / "labels.jsonl"
    path.write_text(
        "".join(line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in lines)
    )
    return path


DOG = {"image": "dog.jpg", "caption": "a dog", "label": "match"}
CAT = {"image": "cat.jpg", "caption": "a dog", "label": "mismatch"}


def test_pairs_are_read_with_their_labels(tmp_path: Path) -> None:
    """Each line is a pair, its image beside the file; the same image has the same name."""
    again = DOG | {"caption": "a pet"}
    pairs = read_pairs(_write(tmp_path, DOG, "\n", CAT, again), Settings(), need_labels=True)
    assert [(pair.data, pair.caption, pair.is_match) for pair in pairs] == [
        (b"dog.jpg", "a dog", True),
        (b"cat.jpg", "a dog", False),
        (b"dog.jpg", "a pet", True),
    ]
    assert pairs[0].image == pairs[2].image != pairs[1].image


def test_pairs_that_share_a_broken_image_are_left_out() -> None:
    """An image that cannot be decoded takes its own pairs along and no others."""
    broken = [Pair("broken", b"no image", caption, True) for caption in ("a dog", "a cat")]
    sound = [Pair("sound", picture(), "a red thing", True)]
    labels = score_pairs(
        broken + sound + broken,
        load_model("demo-tiny", device="cpu"),
        Settings(precision="fp32", decode_processes=1),
        on_scored=lambda: None,
    )
    assert labels.cosines.shape == (1,)


def test_unlabelled_pairs_count_as_matches(tmp_path: Path) -> None:
    """For a cold start no labels are needed; posts are taken to match their images."""
    unlabelled = {"image": "dog.jpg", "caption": "a dog"}
    (pair,) = read_pairs(_write(tmp_path, unlabelled), Settings(), need_labels=False)
    assert pair.is_match


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (DOG | {"label": "mis-match"}, "label: must be match or mismatch, is 'mis-match'"),
        (DOG | {"label": True}, "label: must be match or mismatch, is True"),
        ({"image": "dog.jpg", "caption": "a dog"}, "has no label"),
        (DOG | {"label": None}, "has no label"),
        ({"caption": "a dog", "label": "match"}, "image"),
        (DOG | {"image": "none.jpg"}, "none.jpg"),
        ({"image": "dog.jpg", "label": "match"}, "caption"),
        ("not json\n", "no JSON"),
        ("[]\n", "no JSON object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    """The first wrong line stops the reading: the message names file, line and problem."""
    path = _write(tmp_path, DOG, "\n", line, CAT)
    with pytest.raises(InputRefused) as caught:
        read_pairs(path, Settings(), need_labels=True)
    message = str(caught.value)
    assert message.startswith(f"{path}: line 3")
    assert problem in message


def test_a_missing_label_says_what_would_help(tmp_path: Path) -> None:
    """Whoever has no labels is told of the cold start."""
    path = _write(tmp_path, {"image": "dog.jpg", "caption": "a dog"})
    with pytest.raises(InputRefused, match="--cold-start"):
        read_pairs(path, Settings(), need_labels=True)


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_no_image_gets_a_caption_of_its_own_as_a_mismatch(pairs: list[Pair], seed: int) -> None:
    """Every pair is a match once, and its image a mismatch once, with a caption it never had."""
    own: dict[str, set[str]] = {}
    for pair in pairs:
        own.setdefault(pair.image, set()).add(pair.caption)
    captions = {pair.caption for pair in pairs}
    if any(captions <= of_image for of_image in own.values()):
        with pytest.raises(InputRefused, match="two different images"):
            shuffled(pairs, seed=seed)
        return
    both = shuffled(pairs, seed=seed)
    matches = [pair for pair in both if pair.is_match]
    mismatches = [pair for pair in both if not pair.is_match]
    assert matches == pairs
    assert sorted(pair.image for pair in mismatches) == sorted(pair.image for pair in pairs)
    for pair in mismatches:
        assert pair.caption in captions
        assert pair.caption not in own[pair.image]
        assert pair.data == pair.image.encode()


def test_captions_are_used_evenly() -> None:
    """With a caption an image, each caption is a mismatch exactly once."""
    pairs = [_pair(f"image {number}", f"caption {number}") for number in range(50)]
    mismatches = [pair.caption for pair in shuffled(pairs, seed=0) if not pair.is_match]
    assert sorted(mismatches) == sorted(pair.caption for pair in pairs)


def test_the_seed_decides() -> None:
    """The same seed shuffles the same way, another one otherwise."""
    pairs = [_pair(f"image {number}", f"caption {number}") for number in range(50)]
    assert shuffled(pairs, seed=3) == shuffled(pairs, seed=3)
    assert shuffled(pairs, seed=3) != shuffled(pairs, seed=4)


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([_pair("A", "a dog")], id="one pair"),
        pytest.param([_pair("A", "a dog"), _pair("A", "a pet")], id="one image"),
        pytest.param([_pair("A", "a dog"), _pair("B", "a dog")], id="one caption"),
    ],
)
def test_a_cold_start_needs_something_to_swap(pairs: list[Pair]) -> None:
    """Where no caption is another image's alone, there is no mismatch to make."""
    with pytest.raises(InputRefused, match="two different images"):
        shuffled(pairs, seed=0)
