"""Hostile and broken image files: each ends as an image or a typed reason, and hurts nobody."""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation.errors import Unscorable
from moderation.media.decode import DecoderPool
from moderation.types import Framing, Reason
from tests.unit.media.files import SUPPORTED, animation, corners, encode, noise, png, solid

FRAMING = Framing(16, 16, "bicubic", "shortest", 0)
MAX_PIXELS = 1_000_000
FINE = encode(solid("lime"), "PNG")


@pytest.fixture(scope="module")
def restarts() -> list[int]:
    """Collect how often a decoder had to be replaced."""
    return []


@pytest.fixture(scope="module")
def pool(restarts: list[int]) -> Iterator[DecoderPool]:
    """Share two decoders, which shows that one file does not disturb the next."""

    def note() -> None:
        restarts.append(1)

    with DecoderPool(2, FRAMING, MAX_PIXELS, 60, 2**30, on_restart=note) as pool:
        yield pool


def _outcome(pool: DecoderPool, data: bytes) -> Reason | None:
    """Return why a file gives no image; None if it gives a proper one."""
    try:
        image = pool.decode(data)
    except Unscorable as error:
        refused = error
    else:
        assert image.pixels.shape == (16, 16, 3)
        assert image.pixels.dtype == np.uint8
        return None
    assert refused.detail
    assert refused.detail.isprintable()
    return refused.reason


def _bomb() -> bytes:
    """Return a small PNG of 30,000 x 30,000 pixels, all of them there."""
    return png(30_000, 30_000, (b"IDAT", zlib.compress(bytes(90_001 * 300), 9)))


def _vp8x(width: int, height: int) -> bytes:
    """Return a WebP header for a canvas of any size, and nothing behind it."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("kind", SUPPORTED)
def test_files_cut_off_anywhere(pool: DecoderPool, restarts: list[int], kind: str) -> None:
    """A file that ends too early is corrupt wherever it ends, and no decoder dies of it."""
    data = encode(corners(), kind)
    before = len(restarts)
    for end in range(16, len(data), max(50, len(data) // 60)):
        missing = 1 - end / len(data)
        outcome = _outcome(pool, data[:end])
        # The very end of some formats is padding or metadata, which a picture can do without.
        assert outcome is Reason.IMAGE_CORRUPT or (outcome is None and missing < 0.25), end
    assert len(restarts) == before
    assert _outcome(pool, FINE) is None


@pytest.mark.parametrize("kind", SUPPORTED)
def test_files_with_bits_flipped(pool: DecoderPool, restarts: list[int], kind: str) -> None:
    """A damaged file gives an image or a reason; no decoder dies of it."""
    data = encode(noise(40, 40), kind)
    random = np.random.default_rng(0)
    before = len(restarts)
    for _ in range(40):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 8):
            damaged[place] ^= 1 << int(random.integers(0, 8))
        assert _outcome(pool, bytes(damaged)) in (
            None,
            Reason.IMAGE_CORRUPT,
            Reason.IMAGE_UNSUPPORTED,
            Reason.IMAGE_TOO_MANY_PIXELS,
            Reason.IMAGE_DECODER_FAILED,
        )
    assert len(restarts) == before


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", FINE[:40]]
        + [encode(solid("red"), kind)[:60] for kind in SUPPORTED]
    ),
    rest=st.binary(max_size=400),
)
def test_any_bytes_give_an_image_or_a_reason(pool: DecoderPool, start: bytes, rest: bytes) -> None:
    """No bytes whatever break the pool."""
    _outcome(pool, start + rest)


@pytest.mark.parametrize(
    "make",
    [
        _bomb,
        lambda: png(2**31 - 1, 2**31 - 1),
        lambda: png(1, 2**30),
        lambda: png(1, 65_536, (b"IDAT", zlib.compress(bytes(4 * 65_536)))),
        lambda: _vp8x(16_384, 16_384),
        lambda: b"GIF89a\xff\xff\xff\xff" + encode(solid("red"), "GIF")[10:],
        lambda: encode(solid(0, "L", (1001, 1000)), "JPEG"),
        lambda: encode(solid(0, "L", (1001, 1000)), "PNG"),
        lambda: encode(solid("red", size=(1001, 1000)), "AVIF", speed=10),
    ],
    ids=["bomb", "huge header", "thin", "one side", "WebP", "GIF", "JPEG", "PNG", "AVIF"],
)
def test_too_many_pixels_are_refused_by_the_header(
    pool: DecoderPool, make: Callable[[], bytes]
) -> None:
    """An image above the limit is refused before its pixels cost memory or time."""
    assert _outcome(pool, make()) is Reason.IMAGE_TOO_MANY_PIXELS


def test_as_many_pixels_as_allowed_are_fine(pool: DecoderPool) -> None:
    """The limit itself is within the limit."""
    assert _outcome(pool, encode(solid(0, "L", (1000, 1000)), "PNG")) is None


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_bombs_in_metadata_do_not_go_off(
    pool: DecoderPool, restarts: list[int], kind: bytes
) -> None:
    """Compressed text or profiles that unpack to gigabytes are not unpacked."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"p\0\0"}[kind]
    pixels = (b"IDAT", zlib.compress(b"\0\0\xff\0"))
    before = len(restarts)
    assert _outcome(pool, png(1, 1, (kind, head + packed), pixels)) in (None, Reason.IMAGE_CORRUPT)
    assert _outcome(pool, png(1, 1, *[(kind, head + packed)] * 100, pixels)) in (
        None,
        Reason.IMAGE_CORRUPT,
    )
    assert len(restarts) == before


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(solid("red"), "BMP"), "BMP"),
        (encode(solid("red"), "TIFF"), "TIFF"),
        (encode(solid("red"), "ICO"), "ICO"),
        (encode(solid("red"), "JPEG2000"), "JPEG 2000"),
        (encode(solid("red"), "EPS"), "PostScript"),
        (encode(solid("red"), "PDF"), "PDF"),
        (encode(solid("red"), "PPM"), "none of them"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf\n<svg onload='x()'/>", "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC"),
        (gzip.compress(FINE), "none of them"),
        (b"x", "none of them"),
        (b"just some text", "none of them"),
    ],
)
def test_other_kinds_are_named_and_refused(pool: DecoderPool, data: bytes, name: str) -> None:
    """What is no supported image is unsupported, whatever a URL calls it, and says what it is."""
    with pytest.raises(Unscorable, match=name) as caught:
        pool.decode(data)
    assert caught.value.reason is Reason.IMAGE_UNSUPPORTED


def test_a_file_of_two_kinds_is_what_it_begins_with(pool: DecoderPool) -> None:
    """A picture with a page or an archive behind it is just the picture."""
    for tail in (b"<html><script>x()</script></html>", b"PK\x03\x04" + bytes(100), FINE):
        assert _outcome(pool, encode(solid("red"), "JPEG") + tail) is None
        assert _outcome(pool, encode(solid("red"), "GIF") + tail) is None


def test_a_name_or_type_in_the_file_does_not_count(pool: DecoderPool) -> None:
    """Content decides: a PNG that claims to be text in its comment is decoded as a PNG."""
    data = png(1, 1, (b"tEXt", b"Software\0%!PS"), (b"IDAT", zlib.compress(b"\0\0\xff\0")))
    assert _outcome(pool, data) is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_damage_behind_the_first_frame_does_not_matter(pool: DecoderPool, kind: str) -> None:
    """An animation whose later part is broken gives its first frame or a reason."""
    data = animation(kind)
    for end in range(len(data) // 2, len(data), 9):
        assert _outcome(pool, data[:end]) in (None, Reason.IMAGE_CORRUPT)


def test_an_empty_file(pool: DecoderPool) -> None:
    """No bytes are a corrupt image."""
    assert _outcome(pool, b"") is Reason.IMAGE_CORRUPT
