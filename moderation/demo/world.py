"""Scenes of the generated world: what is in them, where it is, and how they are drawn.

A scene holds one or two groups of equal things. Some combinations of kind, colour and count
are held out: training sees them neither drawn nor described, so that a figure measured on them
tells whether the model learned the parts and not the list.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from PIL import Image

from moderation.demo.drawing import BACKDROPS, COLOURS, SILHOUETTES, backdrop, sprite

KINDS = tuple(SILHOUETTES)
COLOUR_NAMES = tuple(COLOURS)
BACKDROP_NAMES = tuple(BACKDROPS)
COUNTS = (1, 2, 3, 4)
HORIZONS = (0.4, 0.5, 0.6)
HELD_OUT_ONE_IN = 8
TWO_GROUPS_SHARE = 0.65

# Sides of things, as a share of the picture's side, for each count. The ranges overlap, so that
# size does not give the count away; the least is 15 of the 64 pixels that the model sees.
_SIZES = {1: (0.26, 0.44), 2: (0.25, 0.38), 3: (0.24, 0.31), 4: (0.235, 0.27)}
_ALONE = 1.3  # a group that has the whole picture is drawn this much larger
_MARGIN = 0.015


class Layout(StrEnum):
    """Where the first group is, seen from the second."""

    ALONE = "alone"
    LEFT = "left"
    RIGHT = "right"
    ABOVE = "above"
    BELOW = "below"


# The first group's part of the picture: left, top, right, bottom. The second has the other half.
_REGIONS = {
    Layout.ALONE: (0.0, 0.0, 1.0, 1.0),
    Layout.LEFT: (0.0, 0.0, 0.5, 1.0),
    Layout.RIGHT: (0.5, 0.0, 1.0, 1.0),
    Layout.ABOVE: (0.0, 0.0, 1.0, 0.5),
    Layout.BELOW: (0.0, 0.5, 1.0, 1.0),
}
OPPOSITE = {
    Layout.LEFT: Layout.RIGHT,
    Layout.RIGHT: Layout.LEFT,
    Layout.ABOVE: Layout.BELOW,
    Layout.BELOW: Layout.ABOVE,
}


@dataclass(frozen=True, slots=True)
class Combination:
    """So many things of one kind and colour."""

    kind: str
    colour: str
    count: int

    @property
    def held_out(self) -> bool:
        """Whether training must never meet it.

        A fixed lattice holds out one in eight, equally many of each kind, colour and count.
        """
        kind, colour = KINDS.index(self.kind), COLOUR_NAMES.index(self.colour)
        return (kind + colour + 2 * self.count) % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True, slots=True)
class Group:
    """A combination in its place: `corners` are top left corners, all lengths in picture sides."""

    what: Combination
    size: float
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: its groups differ in kind, and `layout` says where the first one is."""

    backdrop: str
    horizon: float
    layout: Layout
    groups: tuple[Group, ...]

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """What is in the picture, first group first."""
        return tuple(group.what for group in self.groups)

    @property
    def held_out(self) -> bool:
        """Whether any combination in it is held out."""
        return any(what.held_out for what in self.combinations)


def seeded(*what: object) -> Random:
    """Return a generator that follows from what it is for: `seeded("posts", 7)`."""
    return Random("-".join(map(str, what)))  # noqa: S311 - drawings, not secrets


def sample_scene(rng: Random, *, held_out: bool) -> Scene:
    """Draw a scene with at least one held-out combination, or with none."""
    while True:
        size = 2 if rng.random() < TWO_GROUPS_SHARE else 1
        combinations = [
            Combination(kind, rng.choice(COLOUR_NAMES), rng.choice(COUNTS))
            for kind in rng.sample(KINDS, size)
        ]
        if any(what.held_out for what in combinations) == held_out:
            break
    layout = rng.choice(tuple(OPPOSITE)) if size == 2 else Layout.ALONE
    return Scene(
        backdrop=rng.choice(BACKDROP_NAMES),
        horizon=rng.choice(HORIZONS),
        layout=layout,
        groups=tuple(
            _place(what, region, rng)
            for what, region in zip(combinations, regions(layout), strict=True)
        ),
    )


def regions(layout: Layout) -> tuple[Layout, ...]:
    """Return where each group of a scene lies, first group first."""
    return (layout,) if layout is Layout.ALONE else (layout, OPPOSITE[layout])


def replace_group(scene: Scene, index: int, what: Combination, rng: Random) -> Scene:
    """Return the scene with other things in one group, kept in place where the count allows."""
    old = scene.groups[index]
    if what.count == old.what.count:
        group = replace(old, what=what)
    else:
        group = _place(what, regions(scene.layout)[index], rng)
    return replace(scene, groups=(*scene.groups[:index], group, *scene.groups[index + 1 :]))


def _place(what: Combination, region: Layout, rng: Random) -> Group:
    """Put the things at random where they do not overlap, smaller if they do not fit."""
    left, top, right, bottom = _REGIONS[region]
    size = rng.uniform(*_SIZES[what.count]) * (_ALONE if region is Layout.ALONE else 1.0)
    while True:
        corners: list[tuple[float, float]] = []
        for _ in range(12 * what.count):
            x = rng.uniform(left + _MARGIN, right - _MARGIN - size)
            y = rng.uniform(top + _MARGIN, bottom - _MARGIN - size)
            if all(abs(x - u) >= size or abs(y - v) >= size for u, v in corners):
                corners.append((x, y))
            if len(corners) == what.count:
                return Group(what, size, tuple(corners))
        size *= 0.985


def render(scene: Scene, side_px: int) -> Image.Image:
    """Draw the scene as RGB, `side_px` square."""
    picture = backdrop(scene.backdrop, scene.horizon, side_px).copy()
    for group in scene.groups:
        thing = sprite(group.what.kind, group.what.colour, round(group.size * side_px))
        for x, y in group.corners:
            picture.paste(thing, (round(x * side_px), round(y * side_px)), thing)
    return picture
