"""Captions: true ones name everything, wrong ones are wrong in the way they claim."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.demo.captions import (
    NUMBERS,
    Swap,
    change_colour,
    change_count,
    change_object,
    describe,
    swap,
)
from moderation.demo.world import COLOUR_NAMES, KINDS, Combination, Scene, sample_scene, seeded

seeds = st.integers(0, 2**32)

_WORDS = {word: count for count, word in NUMBERS.items()} | {"a": 1, "an": 1}
_GROUP = re.compile(
    rf"\b({'|'.join(_WORDS)}|\d) ({'|'.join(COLOUR_NAMES)}) ({'|'.join(KINDS)})s?\b"
)


def _said(caption: str) -> set[Combination]:
    """Read the combinations back from a caption, independently of how it was made."""
    return {
        Combination(kind, colour, int(number) if number.isdigit() else _WORDS[number])
        for number, colour, kind in _GROUP.findall(caption)
    }


@given(seed=seeds, held_out=st.booleans())
def test_a_true_caption_names_every_group(seed: int, held_out: bool) -> None:
    """A caption names exactly what the picture shows."""
    rng = seeded(seed)
    scene = sample_scene(rng, held_out=held_out)
    assert _said(describe(scene, rng)) == set(scene.combinations)


@given(seed=seeds, how=st.sampled_from(Swap), held_out=st.booleans())
def test_a_wrong_caption_says_what_is_not_there(seed: int, how: Swap, held_out: bool) -> None:
    """Whatever the swap, the caption names a combination that the picture does not show."""
    rng = seeded(seed)
    scene = sample_scene(rng, held_out=held_out)
    assert not _said(swap(scene, how, rng, held_out=held_out)) <= set(scene.combinations)


@given(seed=seeds, how=st.sampled_from(Swap))
def test_training_captions_never_name_a_held_out_combination(seed: int, how: Swap) -> None:
    """Wrong captions for training scenes keep clear of held-out combinations too."""
    rng = seeded(seed)
    caption = swap(sample_scene(rng, held_out=False), how, rng, held_out=False)
    assert not any(what.held_out for what in _said(caption))


@given(seed=seeds)
def test_an_object_swap_names_an_absent_kind(seed: int) -> None:
    """One group's kind becomes one that is nowhere in the picture; all else stays."""
    scene, other = _changed(change_object, seed)
    old, new = _difference(scene, other)
    assert new.kind not in {what.kind for what in scene.combinations}
    assert (new.colour, new.count) == (old.colour, old.count)


@given(seed=seeds)
def test_a_colour_swap_names_an_absent_colour(seed: int) -> None:
    """One group's colour becomes one that is nowhere in the picture; all else stays."""
    scene, other = _changed(change_colour, seed)
    old, new = _difference(scene, other)
    assert new.colour not in {what.colour for what in scene.combinations}
    assert (new.kind, new.count) == (old.kind, old.count)


@given(seed=seeds)
def test_a_count_swap_names_another_count(seed: int) -> None:
    """One group's count changes; all else stays."""
    scene, other = _changed(change_count, seed)
    old, new = _difference(scene, other)
    assert new.count != old.count
    assert (new.kind, new.colour) == (old.kind, old.colour)


@pytest.mark.parametrize(
    ("layout", "reverse"), [("left of", "right of"), ("above", "below"), ("over", "under")]
)
def test_relations_agree_with_the_picture(layout: str, reverse: str) -> None:
    """Whichever group a caption names first, the relation is the true one."""
    found = set()
    for seed in range(2000):
        rng = seeded(seed)
        scene = sample_scene(rng, held_out=False)
        caption = describe(scene, rng)
        if f" {layout} " in caption or f" {reverse} " in caption:
            said = layout if f" {layout} " in caption else reverse
            kinds = [kind for _, _, kind in _GROUP.findall(caption)]
            first, second = sorted(scene.combinations, key=lambda w: kinds.index(w.kind))
            axis = 0 if layout == "left of" else 1
            before = _mean(scene, first, axis) < _mean(scene, second, axis)
            assert before == (said == layout), caption
            found.add(said)
    assert found == {layout, reverse}


def _mean(scene: Scene, what: Combination, axis: int) -> float:
    group = next(group for group in scene.groups if group.what == what)
    return sum(corner[axis] for corner in group.corners) / len(group.corners)


def _changed(change: object, seed: int) -> tuple[Scene, Scene]:
    assert callable(change)
    rng = seeded(seed)
    scene = sample_scene(rng, held_out=True)
    return scene, change(scene, rng, held_out=True)


def _difference(scene: Scene, other: Scene) -> tuple[Combination, Combination]:
    """Return the one combination that changed, before and after."""
    pairs = zip(scene.combinations, other.combinations, strict=True)
    ((old, new),) = [(old, new) for old, new in pairs if old != new]
    return old, new
