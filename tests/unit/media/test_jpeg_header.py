"""Which JPEGs a GPU may read: plain ones; everything else is Pillow's."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from moderation.media.jpeg_header import ForPillowError, read_header
from tests.unit.media.files import SUPPORTED, encode, noise

PLAIN = encode(noise(60, 40), "JPEG", quality=80)
SOI = 2


def _with(marker: int, body: bytes) -> bytes:
    """A plain JPEG with one segment more in front."""
    segment = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    return PLAIN[:SOI] + segment + PLAIN[SOI:]


def _frame_at(data: bytes) -> int:
    return data.index(b"\xff\xc0") + 4


def _changed(at: int, value: int) -> bytes:
    data = bytearray(PLAIN)
    data[_frame_at(PLAIN) + at] = value
    return bytes(data)


def _oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encode(noise(60, 40), "JPEG", exif=exif)


def _profiled(name: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name))  # type: ignore[arg-type]
    return encode(noise(60, 40), "JPEG", icc_profile=profile.tobytes())


def _cmyk() -> bytes:
    return encode(noise(60, 40).convert("CMYK"), "JPEG")


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (60, 40), (640, 480), (4000, 3)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_plain_jpegs_are_for_the_gpu(
    size: tuple[int, int], subsampling: int, progressive: bool
) -> None:
    """What cameras and platforms write is read, with the size that Pillow finds."""
    options: dict[str, Any] = {"subsampling": subsampling, "progressive": progressive}
    assert read_header(encode(noise(*size), "JPEG", **options)) == size


def test_more_plain_jpegs_are_for_the_gpu() -> None:
    """Grey, comments, EXIF that says upright, sRGB profiles, and bytes after the end."""
    grey = encode(noise(60, 40).convert("L"), "JPEG")
    commented = encode(noise(60, 40), "JPEG", comment="a comment")
    camera = Image.Exif()
    camera[0x010F] = "a camera"
    plain = encode(noise(60, 40), "JPEG", exif=camera)
    for data in (grey, commented, plain, _oriented(1), _profiled("sRGB"), PLAIN + b"more"):
        assert read_header(data) == (60, 40)


UNUSUAL = {
    "empty": (b"", "no JPEG"),
    "text": (b"just some text", "no JPEG"),
    "cmyk": (_cmyk(), "colours"),
    "a profile": (_profiled("LAB"), "profile"),
    "half a profile": (_with(0xE2, b"ICC_PROFILE\0\1\2" + b"x" * 200), "profile"),
    "an empty profile": (_with(0xE2, b"ICC_PROFILE\0\1\1"), "damaged"),
    "on its side": (_oriented(6), "its side"),
    "mirrored": (_oriented(2), "its side"),
    "XMP that turns": (_with(0xE1, b"xap\0<x tiff:Orientation='6'/>"), "its side"),
    "broken EXIF": (_with(0xE1, b"Exif\0\0MM\0"), "its side"),
    "EXIF that ends early": (_with(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x09"), "damaged"),
    "Adobe's RGB": (_with(0xEE, b"Adobe\0d\0\0\0\0\0"), "colours"),
    "channels named RGB": (
        PLAIN.replace(b"\3\1\x22\0\2\x11\1\3\x11\1", b"\3R\x22\0G\x11\1B\x11\1"),
        "channels",
    ),
    "12 bits": (_changed(0, 12), "depth"),
    "no height": (_changed(2, 0), "size"),
    "odd sampling": (_changed(7, 0x41), "channels"),
    "two sizes": (_with(0xC0, PLAIN[_frame_at(PLAIN) : _frame_at(PLAIN) + 15]), "two sizes"),
    "arithmetic codes": (PLAIN.replace(b"\xff\xc0", b"\xff\xc9"), "not read"),
    "lossless": (PLAIN.replace(b"\xff\xc0", b"\xff\xc3"), "not read"),
    "no size": (PLAIN.replace(b"\xff\xc0", b"\xff\xef"), "no size"),
    "many segments": (PLAIN[:SOI] + b"\xff\xe5\0\2" * 200 + PLAIN[SOI:], "too long"),
    "a cut": (PLAIN[: len(PLAIN) // 2], "end is missing"),
    "only a header": (PLAIN[:50], "damaged"),
    "an end in its header only": (_with(0xE5, b"\xff\xd9")[:-2], "end is missing"),
    "bytes that only fill": (PLAIN[:SOI] + b"\xff" * 9 + PLAIN[SOI:], "not read"),
    "bytes between": (PLAIN[:SOI] + b"xx" + PLAIN[SOI:], "damaged"),
}
UNUSUAL |= {kind: (encode(noise(9, 9), kind), "no JPEG") for kind in SUPPORTED if kind != "JPEG"}


@pytest.mark.parametrize("name", UNUSUAL)
def test_anything_else_is_for_pillow(name: str) -> None:
    """What a GPU would read otherwise, or not at all, is named with the reason."""
    data, reason = UNUSUAL[name]
    with pytest.raises(ForPillowError, match=reason):
        read_header(data)


@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"\xff\xd8", PLAIN[:200]]))
def test_any_bytes_have_a_size_or_a_reason(start: bytes, data: bytes) -> None:
    """Nothing that anybody can write makes the reader fail in another way."""
    with contextlib.suppress(ForPillowError):
        assert min(read_header(start + data)) > 0


@given(places=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6))
def test_damaged_headers_have_a_size_or_a_reason(places: list[tuple[int, int]]) -> None:
    """A few wrong bytes anywhere give a size, which may be wrong, or a reason."""
    data = bytearray(PLAIN)
    for at, value in places:
        data[at] = value
    with contextlib.suppress(ForPillowError):
        assert min(read_header(bytes(data))) > 0


def test_what_is_for_the_gpu_needs_no_turning_and_no_colours() -> None:
    """Pillow finds nothing in these either that would change the picture."""
    for data in (PLAIN, _oriented(1), _profiled("sRGB")):
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "RGB"
            assert image.getexif().get(0x0112, 1) == 1
            assert np.asarray(image).shape == (40, 60, 3)
