"""The generated world: what is drawn, what is held out, and that seeds decide everything."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.demo.batches import family
from moderation.demo.world import (
    COLOUR_NAMES,
    COUNTS,
    KINDS,
    Combination,
    Layout,
    render,
    sample_scene,
    seeded,
)

seeds = st.integers(0, 2**32)


@given(seed=seeds, held_out=st.booleans())
def test_same_seed_same_picture(seed: int, held_out: bool) -> None:
    """A seed decides the scene and each of its pixels."""
    scenes = [sample_scene(seeded(seed), held_out=held_out) for _ in range(2)]
    assert scenes[0] == scenes[1]
    first, second = (np.asarray(render(scene, 64)) for scene in scenes)
    assert np.array_equal(first, second)


@given(seed=seeds, held_out=st.booleans())
def test_a_scene_is_held_out_exactly_when_asked(seed: int, held_out: bool) -> None:
    """A scene drawn for training shows no held-out combination, a held-out one at least one."""
    scene = sample_scene(seeded(seed), held_out=held_out)
    assert any(what.held_out for what in scene.combinations) == held_out
    assert scene.held_out == held_out


@given(seed=seeds)
def test_training_never_meets_a_held_out_combination(seed: int) -> None:
    """Neither a training scene nor any of its twins shows a held-out combination."""
    assert not any(scene.held_out for scene in family(seeded(seed)))


@given(seed=seeds)
def test_things_lie_inside_and_apart(seed: int) -> None:
    """Every thing is whole within the picture and covers no other."""
    scene = sample_scene(seeded(seed), held_out=False)
    boxes = [(x, y, group.size) for group in scene.groups for x, y in group.corners]
    assert len(boxes) == sum(what.count for what in scene.combinations)
    assert all(min(x, y) >= 0 and max(x, y) + size <= 1 for x, y, size in boxes)
    for (x, y, size), (u, v, other) in combinations(boxes, 2):
        apart = x + size <= u or u + other <= x or y + size <= v or v + other <= y
        assert apart or max(abs(x - u), abs(y - v)) >= min(size, other) - 1e-9


@given(seed=seeds)
def test_layout_says_where_the_first_group_is(seed: int) -> None:
    """All things of the first group lie on the side that the layout names."""
    scene = sample_scene(seeded(seed), held_out=False)
    if scene.layout is Layout.ALONE:
        assert len(scene.groups) == 1
        return
    first, second = scene.groups
    axis = 0 if scene.layout in (Layout.LEFT, Layout.RIGHT) else 1
    if scene.layout in (Layout.RIGHT, Layout.BELOW):
        first, second = second, first
    edge = max(corner[axis] for corner in first.corners) + first.size
    assert edge <= min(corner[axis] for corner in second.corners)


def test_held_out_combinations_are_one_in_eight_and_balanced() -> None:
    """Each kind, colour and count is held out equally often, and each is trained on a lot."""
    held_out = [what for what in map(_combine, _all()) if what.held_out]
    assert len(held_out) == len(KINDS) * len(COLOUR_NAMES) * len(COUNTS) // 8
    for field, values in (("kind", KINDS), ("colour", COLOUR_NAMES), ("count", COUNTS)):
        shares = [sum(getattr(what, field) == value for what in held_out) for value in values]
        assert min(shares) == max(shares) > 0


@pytest.mark.parametrize("side_px", [64, 192, 384])
def test_a_picture_has_the_size_that_was_asked_for(side_px: int) -> None:
    """Pictures are square RGB of any size."""
    picture = render(sample_scene(seeded(3), held_out=False), side_px)
    assert (picture.mode, picture.size) == ("RGB", (side_px, side_px))


def _all() -> list[tuple[str, str, int]]:
    return list(product(KINDS, COLOUR_NAMES, COUNTS))


def _combine(parts: tuple[str, str, int]) -> Combination:
    return Combination(*parts)
