"""Captions of scenes: right ones in several phrasings, and ones that are wrong in a known way."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from random import Random

from moderation.demo.world import (
    COLOUR_NAMES,
    COUNTS,
    KINDS,
    OPPOSITE,
    Combination,
    Layout,
    Scene,
    replace_group,
    sample_scene,
)

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
PLURALS = {"fish": "fish"}
PLACES = {
    "beach": ("on the beach", "on a beach"),
    "grass": ("on grass", "on the grass"),
    "night": ("at night", "in the dark"),
    "snow": ("in the snow", "on snow"),
    "street": ("on a street", "on the street"),
    "sea": ("by the sea", "at sea"),
}
RELATIONS = {
    Layout.LEFT: ("left of", "to the left of", "next to"),
    Layout.RIGHT: ("right of", "to the right of", "next to"),
    Layout.ABOVE: ("above", "over"),
    Layout.BELOW: ("below", "under"),
}
OPENINGS = ("", "", "a photo of ", "a picture of ", "an image with ", "here we see ")


class Swap(StrEnum):
    """In which way a caption is wrong."""

    RANDOM = "random"
    OBJECT = "object"
    COLOUR = "colour"
    COUNT = "count"


def name(what: Combination, rng: Random) -> str:
    """Name a combination: "two red balls", "an orange house"."""
    if what.count == 1:
        article = "an" if what.colour[0] in "aeiou" else "a"
        number = rng.choice((article, article, "one"))
        return f"{number} {what.colour} {what.kind}"
    number = str(what.count) if rng.random() < 0.1 else NUMBERS[what.count]
    return f"{number} {what.colour} {PLURALS.get(what.kind, what.kind + 's')}"


def describe(scene: Scene, rng: Random) -> str:
    """Return a true caption that names every group; the place may be left out."""
    layout, combinations = scene.layout, scene.combinations
    if len(combinations) == 2 and rng.random() < 0.5:
        layout, combinations = OPPOSITE[layout], combinations[::-1]
    names = [name(what, rng) for what in combinations]
    if len(names) == 1:
        things = names[0]
    elif rng.random() < 0.4:
        things = f"{names[0]} and {names[1]}"
    else:
        things = f"{names[0]} {rng.choice(RELATIONS[layout])} {names[1]}"
    caption = rng.choice(OPENINGS) + things
    place = rng.choice(PLACES[scene.backdrop])
    return rng.choice((caption, f"{caption} {place}", f"{caption} {place}", f"{place}, {caption}"))


def change_object(scene: Scene, rng: Random, *, held_out: bool) -> Scene:
    """Return the scene with one group made of a kind that was not in it."""
    kinds = [kind for kind in KINDS if all(kind != what.kind for what in scene.combinations)]
    return _change(
        scene, rng, lambda old: [Combination(k, old.colour, old.count) for k in kinds], held_out
    )


def change_colour(scene: Scene, rng: Random, *, held_out: bool) -> Scene:
    """Return the scene with one group in a colour that was not in it."""
    present = {what.colour for what in scene.combinations}
    colours = [colour for colour in COLOUR_NAMES if colour not in present]
    return _change(
        scene, rng, lambda old: [Combination(old.kind, c, old.count) for c in colours], held_out
    )


def change_count(scene: Scene, rng: Random, *, held_out: bool) -> Scene:
    """Return the scene with more or fewer things in one group."""
    return _change(
        scene,
        rng,
        lambda old: [Combination(old.kind, old.colour, n) for n in COUNTS if n != old.count],
        held_out,
    )


def _change(
    scene: Scene,
    rng: Random,
    others: Callable[[Combination], list[Combination]],
    held_out: bool,
) -> Scene:
    """Change one group at random; without `held_out` no held-out combination may arise."""
    choices = [
        (index, other)
        for index, what in enumerate(scene.combinations)
        for other in others(what)
        if held_out or not other.held_out
    ]
    index, other = rng.choice(choices)
    return replace_group(scene, index, other, rng)


def swap_random(scene: Scene, rng: Random, *, held_out: bool) -> str:
    """Return a caption of another scene that names something which this one does not show."""
    while True:
        other = sample_scene(rng, held_out=held_out)
        if not set(other.combinations) <= set(scene.combinations):
            return describe(other, rng)


def swap_object(scene: Scene, rng: Random, *, held_out: bool) -> str:
    """Return a caption that is wrong in the kind of one group."""
    return describe(change_object(scene, rng, held_out=held_out), rng)


def swap_colour(scene: Scene, rng: Random, *, held_out: bool) -> str:
    """Return a caption that is wrong in the colour of one group."""
    return describe(change_colour(scene, rng, held_out=held_out), rng)


def swap_count(scene: Scene, rng: Random, *, held_out: bool) -> str:
    """Return a caption that is wrong in the count of one group."""
    return describe(change_count(scene, rng, held_out=held_out), rng)


def swap(scene: Scene, how: Swap, rng: Random, *, held_out: bool) -> str:
    """Return a caption that is wrong for the scene in the way that was asked for."""
    return _SWAPS[how](scene, rng, held_out=held_out)


_SWAPS: Mapping[Swap, Callable[..., str]] = {
    Swap.RANDOM: swap_random,
    Swap.OBJECT: swap_object,
    Swap.COLOUR: swap_colour,
    Swap.COUNT: swap_count,
}
