"""Reads the header of a JPEG: its size, and whether a GPU shows the picture that Pillow shows.

Pure Python on bytes that anybody may have written: a few segments are looked at, none twice.
What is unusual, damaged or in doubt is for Pillow, which knows more; so the rules are short.
"""

import struct
from typing import NamedTuple

_SOI = b"\xff\xd8"
_EOI = b"\xff\xd9"
_SOS, _APP0, _APP1, _APP2, _APP14 = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
# Baseline, extended and progressive with Huffman codes; the others are rare or not read at all.
_FRAMES = (0xC0, 0xC1, 0xC2)
_OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a segment; here they are out of place
# Any number of these may stand before a marker: millions would take longer than a turn may.
_FILL = 0xFF
_EXIF, _XMP_ORIENTATION, _PROFILE = b"Exif\0\0", b"tiff:Orientation", b"ICC_PROFILE\0"
_MAX_SEGMENTS = 100
_GREY = ((1, 1),)
# Luminance's samples for one of each colour: 4:4:4, 4:2:2, 4:4:0 and 4:2:0.
_SAMPLINGS = tuple(((h, v), (1, 1), (1, 1)) for h in (1, 2) for v in (1, 2))
_RGB_IDS = b"RGB"
_UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
_SHORT = 3


class JpegHeader(NamedTuple):
    """The size of a picture that a GPU reads as Pillow does."""

    width_px: int
    height_px: int


class ForPillowError(Exception):
    """A file that is not for the GPU; the message says why."""


def read_header(data: bytes) -> JpegHeader:
    """Find the size of a plain, upright, whole picture in sRGB. Raises `ForPillowError`."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeError) as error:
        raise ForPillowError("its header is damaged") from error


def _read(data: bytes) -> JpegHeader:
    if not data.startswith(_SOI):
        raise ForPillowError("it is no JPEG")
    at = len(_SOI)
    header: JpegHeader | None = None
    for _ in range(_MAX_SEGMENTS):
        if data[at] != 0xFF:
            raise ForPillowError("its header is damaged")
        marker = data[at + 1]
        (length,) = struct.unpack_from(">H", data, at + 2)
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _SOS:
            break
        if marker == _FILL or marker in _ALONE or marker in _OTHER_FRAMES or length < 2:
            raise ForPillowError(f"marker {marker:x} is not read here")
        if marker in _FRAMES:
            if header is not None:
                raise ForPillowError("it has two sizes")
            header = _frame(segment)
        elif marker in _LOOKED_AT:
            _LOOKED_AT[marker](segment)
    else:
        raise ForPillowError("its header is too long")
    if header is None:
        raise ForPillowError("it has no size")
    # A picture that ends early is corrupt for Pillow, and grey below for others.
    if data.rfind(_EOI) < at:
        raise ForPillowError("its end is missing")
    return header


def _frame(segment: bytes) -> JpegHeader:
    bits, height_px, width_px, count = struct.unpack_from(">BHHB", segment)
    parts = [struct.unpack_from(">BBB", segment, 6 + 3 * place) for place in range(count)]
    samplings = tuple((sampling >> 4, sampling & 15) for _, sampling, _ in parts)
    if bits != 8 or not height_px or not width_px:
        raise ForPillowError("its size or its depth is unusual")
    if samplings != _GREY and samplings not in _SAMPLINGS:
        raise ForPillowError("its channels are unusual")
    if bytes(part[0] for part in parts) == _RGB_IDS:
        raise ForPillowError("its channels are unusual")
    return JpegHeader(width_px, height_px)


def _adobe(segment: bytes) -> None:
    # 0 would be RGB or CMYK as it is, 2 YCCK.
    if segment.startswith(b"Adobe") and segment[11] != 1:
        raise ForPillowError("its colours are unusual")


def _profile(segment: bytes) -> None:
    if not segment.startswith(_PROFILE):
        return
    if segment[len(_PROFILE) : len(_PROFILE) + 2] != b"\1\1" or not _is_srgb(
        segment[len(_PROFILE) + 2 :]
    ):
        raise ForPillowError("it has a colour profile")


def _is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile's description calls it sRGB, as `pixels` asks it."""
    (count,) = struct.unpack_from(">I", profile, 128)
    for place in range(min(count, _MAX_SEGMENTS)):
        tag, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * place)
        if tag == b"desc":
            text = profile[start : start + size]
            encoding = "utf-16-be" if text.startswith(b"mluc") else "latin-1"
            # From its beginning, so that pairs of bytes stay pairs.
            return "srgb" in text[: len(text) & ~1].decode(encoding, "replace").lower()
    return False


def _about(segment: bytes) -> None:
    if _XMP_ORIENTATION in segment:
        raise ForPillowError("it may lie on its side")
    if segment.startswith(_EXIF) and not _is_upright(segment[len(_EXIF) :]):
        raise ForPillowError("it lies on its side")


def _is_upright(tiff: bytes) -> bool:
    """Whether EXIF says so, or says nothing; what is damaged says no."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return False
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for place in range(count):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, at + 2 + 12 * place)
        if tag == _ORIENTATION_TAG:
            (value,) = struct.unpack_from(order + "H", tiff, at + 10 + 12 * place)
            if (kind, values, value) != (_SHORT, 1, _UPRIGHT):
                return False
    return True


_LOOKED_AT = {_APP1: _about, _APP2: _profile, _APP14: _adobe}
