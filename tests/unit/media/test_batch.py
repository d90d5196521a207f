"""Many JPEGs decoded together: the pictures that Pillow makes of them, or the reason why not."""

import functools
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from moderation.media.batch import MAX_PIXELS_AT_ONCE, BatchDecoder, decode_together
from moderation.media.choosing import MAX_MEAN_DIFFERENCE, MAX_P99_DIFFERENCE
from moderation.media.framing import frame, pad
from moderation.media.pixels import read_picture
from moderation.media.probes import draw_probes
from moderation.types import Framing
from tests.unit.media.files import encode, noise, png, solid

# Found here with the same arithmetic; what a GPU may differ by is more.
MEAN, P99 = 0.5, 3
FRAMINGS = [
    Framing(32, 32, "bicubic", "shortest", 0),
    Framing(64, 64, "bilinear", "shortest", 0),
    Framing(224, 224, "bicubic", "shortest", 0),
    Framing(40, 24, "bicubic", "shortest", 0),
    Framing(32, 32, "bicubic", "squash", 0),
    Framing(48, 32, "bilinear", "squash", 0),
    Framing(32, 32, "bicubic", "longest", 127),
    Framing(40, 24, "bilinear", "longest", 255),
]
FRAMING = FRAMINGS[0]
MAX_PIXELS = 10**7
SOUND = [encode(noise(40 + 8 * n, 50 - 3 * n, n), "JPEG", quality=90) for n in range(6)]
# Its header is sound, and what follows is not.
BROKEN = SOUND[0][: SOUND[0].index(b"\xff\xc4")] + b"\xff\xda\0\2" + b"\xff\xd9"


def _read(
    files: Sequence[bytes], framing: Framing = FRAMING, **options: Any
) -> tuple[list[np.ndarray[Any, Any]], list[str | None]]:
    decoder = BatchDecoder(framing, options.pop("max_pixels", MAX_PIXELS), "cpu", **options)
    shape = (len(files), framing.height_px, framing.width_px, 3)
    frames = torch.zeros(shape, dtype=torch.uint8)
    problems = decoder.read(files, frames)
    return list(frames.numpy()), problems


def _differences(
    data: bytes, picture: np.ndarray[Any, Any], framing: Framing
) -> np.ndarray[Any, Any]:
    expected = np.asarray(read_picture(data, framing, MAX_PIXELS).image, np.int64)
    difference: np.ndarray[Any, Any] = np.abs(expected - picture)
    return difference


@functools.cache
def _probes() -> list[bytes]:
    return draw_probes()


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_pictures_are_those_of_pillow(framing: Framing) -> None:
    """Landscape, portrait, large and odd, grey, 4:4:4 and 4:2:0, progressive: all come close."""
    files = _probes()[::2]
    pictures, problems = _read(files, framing)
    assert problems == [None] * len(files)
    for data, picture in zip(files, pictures, strict=True):
        difference = _differences(data, picture, framing)
        assert difference.mean() <= MEAN
        assert np.percentile(difference, 99) <= P99


@pytest.mark.parametrize("size", [(30, 30), (640, 480), (480, 640), (333, 251), (100, 9)])
def test_small_pictures_are_nearly_equal(size: tuple[int, int]) -> None:
    """Where Pillow averages nothing, few numbers differ: where both passes would leave the range.

    Which pass comes first is Pillow's choice, by what it costs.
    """
    framing = Framing(224, 224, "bicubic", "shortest", 0)
    data = encode(noise(*size), "JPEG", quality=85)
    ((picture,), problems) = _read([data], framing)
    assert problems == [None]
    difference = _differences(data, picture, framing)
    assert np.percentile(difference, 99) <= 1
    assert difference.mean() < 0.05


def test_bounds_for_a_gpu_leave_it_room() -> None:
    """What is allowed there is more than the same arithmetic needs here."""
    assert MAX_MEAN_DIFFERENCE > MEAN
    assert MAX_P99_DIFFERENCE > P99


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    framing=st.sampled_from([f for f in FRAMINGS if f.height_px < 100]),
    is_grey=st.booleans(),
    seed=st.integers(0, 10),
)
def test_any_size_is_framed_as_open_clip_frames_it(
    width: int, height: int, framing: Framing, is_grey: bool, seed: int
) -> None:
    """Every shape is resized, cropped and padded as stock preprocessing does it, or handed on."""
    image = noise(5, 4, seed).resize((width, height)).convert("L" if is_grey else "RGB")
    data = encode(image, "JPEG", quality=95)
    ((picture,), (problem,)) = _read([data], framing)
    if problem is None:
        with Image.open(io.BytesIO(data)) as opened:
            expected = pad(frame(opened.convert("RGB"), framing), framing)
        difference = np.abs(np.asarray(expected).astype(int) - picture)
        assert difference.mean() <= 0.3
        assert np.percentile(difference, 99) <= 2
    else:
        assert problem in ("it is very long", "it is very thin")
        assert max(width, height) > 15 * min(width, height) or min(width, height) == 1


def test_grey_pictures_have_three_equal_channels() -> None:
    """A grey file is a picture in RGB, as the towers want it."""
    data = encode(noise(50, 40).convert("L"), "JPEG")
    ((picture,), problems) = _read([data])
    assert problems == [None]
    assert (picture == picture[..., :1]).all()
    assert picture.std() > 5


@given(order=st.permutations(range(6)))
@settings(deadline=None, max_examples=15)
def test_each_file_has_its_own_row(order: list[int]) -> None:
    """In whatever order they come, of equal and different sizes, and as if each were alone."""
    alone = [_read([data])[0][0] for data in SOUND]
    pictures, _ = _read([SOUND[n] for n in order] + [SOUND[order[0]]])
    assert all((pictures[place] == alone[n]).all() for place, n in enumerate(order))
    assert (pictures[-1] == pictures[0]).all()


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("bad", [BROKEN, b"", b"text", png(9, 9), SOUND[0][:-100]])
def test_one_bad_file_harms_no_other(bad: bytes, place: int) -> None:
    """The others are read; the bad one is named, wherever it lies."""
    files = SOUND[:3]
    files.insert(place, bad)
    pictures, problems = _read(files)
    assert [problem is None for problem in problems] == [n != place for n in range(4)]
    for n, data in enumerate(files):
        if n != place:
            assert _differences(data, pictures[n], FRAMING).mean() < 0.5


def test_nothing_but_bad_files() -> None:
    """No file, or none that can be read, is no failure."""
    assert _read([])[1] == []
    assert None not in _read([BROKEN, b"", BROKEN])[1]


def test_large_pictures_are_not_decoded_at_all() -> None:
    """The limit of pixels is held by the header: nothing is decoded, or made room for."""
    decoded: list[int] = []

    def decode(files: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        decoded.append(len(files))
        return decode_together(files, device)

    large = encode(solid("red", size=(200, 101)), "JPEG")
    _, problems = _read([large, SOUND[0]], max_pixels=200 * 100, decode=decode)
    assert problems == ["it has too many pixels", None]
    assert decoded == [1]


def test_only_so_many_pixels_are_decoded_together() -> None:
    """The GPU's memory is the model's: a turn of large pictures is decoded in parts."""
    side = 3000
    file = encode(solid("blue", size=(side, side)), "JPEG")
    turns: list[int] = []

    def decode(files: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        turns.append(len(files))
        return decode_together(files, device)

    pictures, problems = _read([file] * 7, decode=decode)
    assert problems == [None] * 7
    assert sum(turns) == 7
    assert max(turns) * side * side <= MAX_PIXELS_AT_ONCE
    assert all((abs(picture.astype(int) - [0, 0, 255]) <= 2).all() for picture in pictures)


def test_a_picture_of_another_size_than_its_header_says_is_refused() -> None:
    """A decoder that finds another size in a file than we did is not followed."""

    def decode(files: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        return [picture[:, 1:] for picture in decode_together(files, device)]

    _, problems = _read(SOUND[:2], decode=decode)
    assert all(problem and "another size" in problem for problem in problems)


def test_one_bad_file_among_many_costs_few_tries() -> None:
    """A hostile file does not have all its neighbours decoded one by one."""
    turns: list[int] = []

    def decode(files: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        turns.append(len(files))
        return decode_together(files, device)

    files = [*SOUND * 5, BROKEN, *SOUND]
    _, problems = _read(files, decode=decode)
    assert [problem is None for problem in problems] == [data is not BROKEN for data in files]
    assert len(turns) <= 13


def test_what_there_is_no_time_for_is_not_begun() -> None:
    """It is handed on unread, with the reason, and is no failure of the device."""
    decoder = BatchDecoder(FRAMING, MAX_PIXELS, "cpu")
    frames = torch.zeros((2, 32, 32, 3), dtype=torch.uint8)
    late = decoder.read([SOUND[0], b""], frames, until_s=time.monotonic())
    assert late == ["there was no time left for it"] * 2
    assert not frames.any()
    assert decoder.failures == 0


def test_failures_are_counted() -> None:
    """A device that fails is told from files that are not for it."""
    decoder = BatchDecoder(FRAMING, MAX_PIXELS, "cpu")
    frames = torch.zeros((3, 32, 32, 3), dtype=torch.uint8)
    decoder.read([SOUND[0], b"", png(9, 9)], frames)
    assert decoder.failures == 0
    decoder.read([SOUND[0], BROKEN, b""], frames)
    assert decoder.failures == 1


def test_pictures_for_people_are_not_decoded_so() -> None:
    """Copies keep all of a picture, in many sizes: that is Pillow's."""
    with pytest.raises(ValueError, match="people"):
        BatchDecoder(Framing(9, 9, "bicubic", "within", 0), MAX_PIXELS, "cpu")
