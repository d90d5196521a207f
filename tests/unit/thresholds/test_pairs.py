"""Pairs from a file, and shuffled ones where there are no labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.errors import InputRefused
from thresholds.pairs import Pair, read_pairs, shuffled


def _pair(image: str, caption: str) -> Pair:
    return Pair(line=1, image=f"{image}.jpg", caption=caption, is_match=True, sha256=image)


PAIRS = st.lists(
    st.builds(_pair, st.sampled_from("ABCDE"), st.sampled_from(["a", "b", "c", "d", "e", "f"])),
    max_size=20,
)

FILE = Path("/labels/labels.jsonl")
DOG = {"image": "dog.jpg", "caption": "a dog", "label": "match"}
CAT = {"image": "https://example.com/cat.jpg", "caption": "a dog", "label": "mismatch"}


def _read(*lines: Any, need_labels: bool = True) -> list[Pair]:
    text = "".join(line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in lines)
    return read_pairs(FILE, text, need_labels=need_labels)


def test_pairs_are_read_with_their_labels() -> None:
    """Each line is a pair with its number; paths are beside the file, URLs as they are."""
    known = DOG | {"kind": "own", "weight": 20, "split": "fit", "external_id": "x"}
    assert _read(known, "\r\n", CAT | {"split": "report"}) == [
        Pair(1, "/labels/dog.jpg", "a dog", True, "own", 20.0, "fit"),
        Pair(3, "https://example.com/cat.jpg", "a dog", False, split="report"),
    ]


def test_unlabelled_pairs_count_as_matches() -> None:
    """For a cold start no labels are needed; what is known to mismatch is left out."""
    pairs = _read({"image": "dog.jpg", "caption": "a dog"}, CAT, DOG, need_labels=False)
    assert [(pair.line, pair.is_match) for pair in pairs] == [(1, True), (3, True)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (DOG | {"label": "mis-match"}, "label must be match or mismatch, is 'mis-match'"),
        (DOG | {"label": True}, "label must be match or mismatch, is True"),
        ({"image": "dog.jpg", "caption": "a dog"}, "has no label"),
        (DOG | {"label": None}, "has no label"),
        ({"caption": "a dog", "label": "match"}, "image must be a path or URL"),
        (DOG | {"image": 7}, "image must be a path or URL"),
        ({"image": "dog.jpg", "label": "match"}, "caption must be a text"),
        (DOG | {"caption": "\ud83d"}, "caption must be a text"),
        (DOG | {"weight": 0}, "weight must be above 0"),
        (DOG | {"weight": float("nan")}, "weight must be a number"),
        (DOG | {"weight": True}, "weight must be a number"),
        (DOG | {"split": "test"}, "split must be fit, choose or report, is 'test'"),
        (DOG | {"split": "fit"}, "either all lines have a split or none"),
        ("not json\n", "no JSON"),
        ('{"image": "dog.jp', "no JSON"),
        ("[" * 100_000 + "\n", "no JSON"),
        ("[]\n", "no JSON object"),
    ],
)
def test_a_wrong_line_is_named(line: Any, problem: str) -> None:
    """The first wrong line stops the reading: the message names file, line and problem."""
    with pytest.raises(InputRefused) as caught:
        _read(DOG, "\n", line, CAT)
    message = str(caught.value)
    assert message.startswith(f"{FILE}: line 3: ")
    assert problem in message


def test_a_missing_label_says_what_would_help() -> None:
    """Whoever has no labels is told of the cold start."""
    with pytest.raises(InputRefused, match="--cold-start"):
        _read({"image": "dog.jpg", "caption": "a dog"})


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_no_image_gets_a_caption_of_its_own_as_a_mismatch(pairs: list[Pair], seed: int) -> None:
    """Each pair's image is a mismatch once, with a caption it never had under any name."""
    own: dict[str | None, set[str]] = {}
    for pair in pairs:
        own.setdefault(pair.sha256, set()).add(pair.caption)
    captions = {pair.caption for pair in pairs}
    if any(captions <= of_image for of_image in own.values()):
        with pytest.raises(InputRefused, match="two different images"):
            shuffled(pairs, seed=seed)
        return
    mismatches = shuffled(pairs, seed=seed)
    assert sorted(pair.image for pair in mismatches) == sorted(pair.image for pair in pairs)
    for pair in mismatches:
        assert (pair.is_match, pair.kind) == (False, "random")
        assert pair.caption in captions
        assert pair.caption not in own[pair.sha256]


def test_captions_are_used_evenly() -> None:
    """With a caption an image, each caption is a mismatch exactly once."""
    pairs = [_pair(f"image {number}", f"caption {number}") for number in range(50)]
    mismatches = [pair.caption for pair in shuffled(pairs, seed=0)]
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
        pytest.param(
            [_pair("A", "a dog"), replace(_pair("A", "a pet"), image="copy.jpg")], id="a copy"
        ),
        pytest.param([_pair("A", "a dog"), _pair("B", "a dog")], id="one caption"),
    ],
)
def test_a_cold_start_needs_something_to_swap(pairs: list[Pair]) -> None:
    """Where no caption is another image's alone, there is no mismatch to make."""
    with pytest.raises(InputRefused, match="two different images"):
        shuffled(pairs, seed=0)
