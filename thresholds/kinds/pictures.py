"""The same picture cropped, saved again, mirrored, or with text printed on it."""

import math
from random import Random
from typing import Literal

from thresholds.kinds.edits import Crop, Mirror, Print, Reencode, wrapped
from thresholds.kinds.grammar import parse
from thresholds.kinds.kind import NotMade, Planned, World
from thresholds.kinds.original import Original, Photo
from thresholds.kinds.words import SIDED

LEAST_KEPT = 0.8
_MOST_KEPT = 0.95
QUALITIES = (30, 50, 70)
_LEAST_SIDE_PX = 32
# Of the picture's shorter side: text that a person reads at once.
_TEXT_SHARE = 0.06
_LEAST_TEXT_PX = 10
_MOST_BAND = 0.4


def own(pair: Original, world: World) -> Planned:
    """Plan the pair as it is."""
    return Planned(pair.caption)


def crop(pair: Original, world: World) -> Planned:
    """Plan a box of 80 to 95 % of each side, anywhere."""
    photo = _still(pair.photo)
    rng = world.rng("crop", photo.sha256)
    left, right = _span(photo.width_px, rng)
    top, bottom = _span(photo.height_px, rng)
    return Planned(pair.caption, Crop(left, top, right, bottom))


def _span(side_px: int, rng: Random) -> tuple[int, int]:
    kept = math.ceil(side_px * rng.uniform(LEAST_KEPT, _MOST_KEPT))
    start = rng.randint(0, side_px - kept)
    return start, start + kept


def reencode(pair: Original, world: World) -> Planned:
    """Plan a JPEG of low quality."""
    photo = _still(pair.photo)
    return Planned(pair.caption, Reencode(world.rng("reencode", photo.sha256).choice(QUALITIES)))


def mirror(pair: Original, world: World) -> Planned:
    """Plan the mirrored picture, unless a caption of it names a side or something to read."""
    photo = _still(pair.photo)
    for caption in photo.captions:
        words = parse(caption).words
        # A time or a year was read somewhere; a short number counts things.
        if not SIDED.isdisjoint(words) or any(w[0].isdigit() and len(w) > 2 for w in words):
            raise NotMade("a caption names a side or something to read")
    return Planned(pair.caption, Mirror())


def printed_caption(pair: Original, world: World) -> Planned:
    """Plan the caption of the kind `random`, printed on the picture as well."""
    photo = _still(pair.photo)
    wrong = world.captions.another(pair, world)
    return Planned(wrong, _printed(photo, wrong, world.rng("printed_caption", photo.sha256, wrong)))


def harmless_text(pair: Original, world: World) -> Planned:
    """Plan the pair with a date, a time or a file's name printed on it."""
    photo = _still(pair.photo)
    rng = world.rng("harmless_text", photo.sha256)
    text = rng.choice(
        (
            "photo",
            f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.{rng.randint(2004, 2024)}",
            f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}",
            f"IMG_{rng.randint(0, 9999):04d}.JPG",
            rng.choice(("Monday", "Wednesday", "Friday", "Sunday")),
        )
    )
    return Planned(pair.caption, _printed(photo, text, rng))


def _printed(photo: Photo, text: str, rng: Random) -> Print:
    """A band of text, in smaller letters where it would hide too much of the picture."""
    if not text.isascii():
        raise NotMade("signs that the built-in font may lack")
    edge: Literal["top", "bottom"] = rng.choice(("top", "bottom"))
    dark = rng.random() < 0.5
    text_px = max(_LEAST_TEXT_PX, round(_TEXT_SHARE * min(photo.width_px, photo.height_px)))
    while text_px >= _LEAST_TEXT_PX:
        lines = wrapped(text, text_px, photo.width_px)
        if lines is not None:
            band = Print(lines, text_px, edge, dark)
            if band.band_px <= _MOST_BAND * photo.height_px:
                return band
        text_px = min(text_px - 1, round(0.8 * text_px))
    raise NotMade("the picture is too small for the text")


def _still(photo: Photo) -> Photo:
    if photo.is_animated:
        raise NotMade("the image is animated")
    if min(photo.width_px, photo.height_px) < _LEAST_SIDE_PX:
        raise NotMade(f"the image has a side under {_LEAST_SIDE_PX} pixels")
    return photo
