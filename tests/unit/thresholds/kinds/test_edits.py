"""Edited pictures: each edit does what it says, and nothing else."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.media.files import noise
from tests.unit.thresholds.kinds.posts import original, world
from thresholds.kinds.edits import Crop, Edit, Mirror, Print, Reencode, encoded
from thresholds.kinds.kind import NotMade
from thresholds.kinds.pictures import LEAST_KEPT, QUALITIES
from thresholds.kinds.table import BY_NAME

SIDES = st.integers(1, 900)


def planned(kind: str, caption: str = "A dog on a beach.", seed: int = 0, **fields: object) -> Edit:
    """Plan what a kind does to a photo."""
    pair = original(caption, **fields)
    edit = BY_NAME[kind].rule(pair, world(pair, seed=seed)).edit
    assert edit is not None
    return edit


def reopened(edit: Edit, picture: Image.Image, *, is_lossless: bool = True) -> Image.Image:
    """Save and read the edited picture."""
    data, _ = encoded(edit, picture, is_lossless=is_lossless)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def test_a_picture_mirrored_twice_is_the_picture() -> None:
    """Without loss, and once is not enough."""
    picture = noise(91, 50)
    once = reopened(Mirror(), picture)
    assert np.array_equal(np.asarray(once), np.asarray(picture)[:, ::-1])
    assert np.array_equal(np.asarray(reopened(Mirror(), once)), np.asarray(picture))


@settings(deadline=None)
@given(width=SIDES, height=SIDES, seed=st.integers(0, 5))
def test_a_crop_keeps_four_fifths_of_each_side(width: int, height: int, seed: int) -> None:
    """And lies inside of the picture; too small pictures are left out."""
    try:
        crop = planned("crop", seed=seed, width_px=width, height_px=height)
    except NotMade:
        assert min(width, height) < 32
        return
    assert isinstance(crop, Crop)
    assert 0 <= crop.left < crop.right <= width
    assert 0 <= crop.top < crop.bottom <= height
    assert LEAST_KEPT * width <= crop.right - crop.left < width
    assert LEAST_KEPT * height <= crop.bottom - crop.top < height


def test_a_crop_is_a_part_of_the_picture() -> None:
    """Pixel for pixel, where the file has no loss."""
    picture = noise(100, 80)
    crop = Crop(3, 5, 93, 75)
    assert np.array_equal(np.asarray(reopened(crop, picture)), np.asarray(picture)[5:75, 3:93])


@pytest.mark.parametrize("kind", ["printed_caption", "harmless_text"])
@pytest.mark.parametrize("seed", range(4))
def test_printed_text_changes_only_its_band(kind: str, seed: int) -> None:
    """A band along an edge, of which part is ink and part is ground, in full contrast."""
    picture = noise(320, 240)
    band = planned(kind, seed=seed)
    assert isinstance(band, Print)
    before, after = np.asarray(picture), np.asarray(reopened(band, picture))
    assert after.shape == before.shape
    rows = slice(0, band.band_px) if band.edge == "top" else slice(240 - band.band_px, 240)
    kept = np.ones(240, dtype=bool)
    kept[rows] = False
    assert np.array_equal(after[kept], before[kept])
    assert {0, 255} <= set(np.unique(after[rows]).tolist())
    ground = 0 if band.dark else 255
    # No letter reaches the outermost rows and columns.
    assert (after[rows][[0, -1]] == ground).all()
    assert (after[rows][:, [0, -1]] == ground).all()
    assert band.band_px <= 0.4 * 240


@settings(deadline=None, max_examples=60)
@given(
    caption=st.text(st.characters(codec="ascii", categories=["L", "Zs", "P"]), max_size=200),
    width=SIDES,
    height=SIDES,
)
def test_text_is_wrapped_to_the_picture_or_left_out(caption: str, width: int, height: int) -> None:
    """All words are there, in their order, or the kind is not made."""
    pair = original("A dog on a beach.", width_px=width, height_px=height)
    other = original(f"{caption} zebra helicopter")
    around = world(pair, other)
    try:
        result = BY_NAME["printed_caption"].rule(pair, around)
    except NotMade:
        return
    assert isinstance(result.edit, Print)
    assert " ".join(result.edit.lines).split() == result.caption.split()
    picture = Image.new("RGB", (width, height))
    assert result.edit.apply(picture).size == picture.size


def test_reencoding_is_jpeg_of_a_stated_quality() -> None:
    """Lower quality is farther from the picture, and the size stays."""
    picture = noise(64, 64)
    assert {planned("reencode", caption=f"dog {n}") for n in range(40)} == {
        Reencode(quality) for quality in QUALITIES
    }
    off = []
    for quality in QUALITIES:
        image = reopened(Reencode(quality), picture)
        assert (image.format, image.size) == ("JPEG", picture.size)
        off.append(np.abs(np.asarray(image, dtype=float) - np.asarray(picture)).mean())
    assert off == sorted(off, reverse=True)


@pytest.mark.parametrize("edit", [Mirror(), Crop(0, 0, 40, 40)])
def test_what_came_without_loss_stays_without_it(edit: Edit) -> None:
    """PNG from PNG, and JPEG of high quality from what had lost already."""
    picture = noise(48, 48)
    assert encoded(edit, picture, is_lossless=True)[1] == ".png"
    assert encoded(edit, picture, is_lossless=False)[1] == ".jpg"
    assert reopened(edit, picture, is_lossless=False).format == "JPEG"


@pytest.mark.parametrize(
    "caption",
    ["A dog on the left", "A stop sign", "A clock at 8:25", "A man with a tattoo", "a car in 1999"],
)
def test_no_picture_is_mirrored_in_which_sides_matter(caption: str) -> None:
    """Where any caption names a side or something to read; a count is neither."""
    with pytest.raises(NotMade, match="side"):
        planned("mirror", caption)
    assert planned("mirror", "3 dogs on a beach") == Mirror()


PICTURE_KINDS = ("crop", "reencode", "mirror", "printed_caption", "harmless_text")


@pytest.mark.parametrize("kind", PICTURE_KINDS)
def test_animations_are_left_out(kind: str) -> None:
    """A frame of it would be another post."""
    with pytest.raises(NotMade, match="animated"):
        planned(kind, is_animated=True)


@pytest.mark.parametrize("kind", ["crop", "reencode", "mirror", "harmless_text"])
def test_what_is_done_to_a_picture_does_not_depend_on_its_caption(kind: str) -> None:
    """All captions of an image share one edited picture."""
    one, two = (original(text, "b") for text in ("A dog.", "A dog."))
    assert BY_NAME[kind].rule(one, world(one)).edit == BY_NAME[kind].rule(two, world(two)).edit
