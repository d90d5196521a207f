"""Copies for people to look at: the whole picture, and nothing but the picture."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, ImageCms, PngImagePlugin
from PIL import Image as Pillow

from moderation.errors import Unscorable
from moderation.media.copies import NICENESS, CopyMaker, open_copy_decoder
from moderation.media.decode import DecoderPool
from moderation.media.encoder_wire import LONGEST_SIDE_PX
from moderation.media.files import ImageFile
from moderation.settings import Settings
from moderation.types import Framing
from tests.unit.media.files import SUPPORTED, encode


@pytest.fixture(scope="module")
def maker() -> Iterator[CopyMaker]:
    """What makes copies; patient, since other work may load the machine."""
    with CopyMaker(Settings(decode_timeout_s=60)) as maker:
        yield maker


def _jpeg(maker: CopyMaker, data: bytes) -> bytes:
    (made,) = maker.make_all([ImageFile.of(data)])
    if not isinstance(made, bytes):
        raise made
    return made


def _copy(maker: CopyMaker, data: bytes) -> Pillow.Image:
    copy = Pillow.open(io.BytesIO(_jpeg(maker, data)))
    copy.load()
    assert copy.format == "JPEG"
    assert copy.mode == "RGB"
    return copy


@pytest.mark.parametrize("kind", SUPPORTED)
def test_every_kind_of_image_gets_its_copy(maker: CopyMaker, kind: str) -> None:
    """Its colours and its size stay."""
    data = encode(Pillow.new("RGB", (120, 90), (200, 40, 40)), kind)
    copy = _copy(maker, data)
    assert copy.size == (120, 90)
    assert np.abs(np.asarray(copy, int) - (200, 40, 40)).max() <= 6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((1600, 1600), (1600, 1600)),
        ((1601, 800), (1600, 800)),
        ((3200, 1200), (1600, 600)),
        ((1200, 4800), (400, 1600)),
        ((20000, 2), (1600, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_images_are_made_smaller_and_small_ones_stay(
    maker: CopyMaker, kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """At most 1,600 pixels on the longer side, in the proportions of the original."""
    copy = _copy(maker, encode(Pillow.new("RGB", size, "navy"), kind))
    assert copy.size == expected
    assert max(copy.size) <= LONGEST_SIDE_PX


def test_nothing_of_the_image_is_cut_off(maker: CopyMaker) -> None:
    """What stands in a corner of a large image stands there in its copy."""
    image = Pillow.new("RGB", (4000, 1000), "white")
    image.paste((255, 0, 0), (0, 0, 200, 200))
    image.paste((0, 0, 255), (3800, 800, 4000, 1000))
    copy = np.asarray(_copy(maker, encode(image, "JPEG", quality=95)), int)
    assert np.abs(copy[10, 10] - (255, 0, 0)).max() < 20
    assert np.abs(copy[-10, -10] - (0, 0, 255)).max() < 20


def test_a_copy_is_upright_and_tells_nothing_else(maker: CopyMaker) -> None:
    """The camera's turn is applied; place, comments, thumbnails and profiles are gone."""
    image = Pillow.new("RGB", (200, 100), "white")
    image.paste((255, 0, 0), (0, 0, 40, 100))
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(image, "JPEG", quality=95, exif=exif, icc_profile=profile, comment=b"somebody")
    copy = _copy(maker, data)
    assert copy.size == (100, 200)
    assert np.abs(np.asarray(copy, int)[10, 50] - (255, 0, 0)).max() < 20, "left is up now"
    assert set(copy.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not copy.getexif()


def test_text_chunks_of_a_png_are_gone(maker: CopyMaker) -> None:
    """Whatever its author wrote into the file beside the picture."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody known")
    data = encode(Pillow.new("RGB", (30, 30), "green"), "PNG", pnginfo=text)
    assert b"somebody" in data
    assert b"somebody" not in _jpeg(maker, data)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0)])
def test_drawings_on_transparency_can_be_seen(
    maker: CopyMaker, colour: tuple[int, int, int]
) -> None:
    """The ground hides neither what is white nor what is black."""
    image = Pillow.new("RGBA", (80, 80), (*colour, 0))
    image.paste((*colour, 255), (20, 20, 60, 60))
    copy = np.asarray(_copy(maker, encode(image, "PNG")), int)
    assert np.abs(copy[40, 40] - colour).max() < 12
    assert np.abs(copy[4, 4] - copy[40, 40]).min() > 100


def test_an_animation_is_shown_by_its_first_frame(maker: CopyMaker) -> None:
    """As it was scored."""
    frames = [Pillow.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(_copy(maker, data), int)[20, 20] - (255, 0, 0)).max() < 12


def test_equal_pixels_make_equal_copies(maker: CopyMaker) -> None:
    """So that the store holds one of an image, however often it is posted."""
    data = encode(Pillow.linear_gradient("L"), "PNG")
    assert _jpeg(maker, data) == _jpeg(maker, data)


def test_what_is_no_image_gets_no_copy(maker: CopyMaker) -> None:
    """And the decoder goes on."""
    with pytest.raises(Unscorable, match="unsupported"):
        _jpeg(maker, b"no image at all")
    assert _copy(maker, encode(Pillow.new("RGB", (9, 9)), "PNG")).size == (9, 9)


def test_a_copy_of_the_largest_image_fits_the_decoders_memory() -> None:
    """The memory that both processes share is not taken from what decoding may need."""
    settings = Settings(decode_timeout_s=60, decode_memory_bytes=320 * 2**20)
    data = encode(Pillow.new("RGB", (7000, 7000), "red"), "PNG")
    frame = Framing(32, 32, "bicubic", "squash", 0)
    with DecoderPool(1, frame, 10**8, 60, settings.decode_memory_bytes) as scorer:
        scorer.decode(data)
    with open_copy_decoder(settings) as decoder:
        assert decoder.decode(data).pixels.shape == (1600, 1600, 3)


def test_decoder_and_encoder_of_copies_give_way(maker: CopyMaker) -> None:
    """Where there are not enough cores, verdicts go first."""
    _jpeg(maker, encode(Pillow.new("RGB", (9, 9)), "PNG"))
    tasks = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    children = [int(pid) for pid in tasks.read_text().split()]
    nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in children]
    assert sorted(nice)[-2:] == [min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)] * 2
