"""What a decoded image looks like: like open_clip's for plain ones, upright and on white."""

import io
from typing import Any

import numpy as np
import open_clip.transform
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps

from moderation.media.decode import DecoderPool
from moderation.media.framing import draft
from moderation.media.pixels import read_picture
from moderation.types import Framing, Note, Pixels
from tests.unit.media.files import SUPPORTED, animation, corners, encode, noise, solid

FRAMINGS = [
    Framing(224, 224, "bicubic", "shortest", 0),
    Framing(32, 32, "bilinear", "shortest", 0),
    Framing(48, 31, "bilinear", "shortest", 0),
    Framing(31, 48, "bicubic", "squash", 0),
    Framing(64, 64, "bilinear", "squash", 0),
    Framing(64, 64, "bicubic", "longest", 0),
    Framing(33, 50, "bicubic", "longest", 127),
    Framing(50, 33, "bilinear", "longest", 255),
]
SIZES = [(640, 480), (480, 640), (224, 224), (223, 225), (301, 77), (50, 399), (7, 5), (1, 1)]


def _open_clip_pixels(image: PillowImage.Image, framing: Framing) -> Pixels:
    """Preprocess like open_clip, with colours left as they are."""
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(
            size=(framing.height_px, framing.width_px),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            interpolation=framing.interpolation,
            resize_mode=framing.resize_mode,
            fill_color=framing.fill,
        ),
        is_train=False,
    )
    tensor: torch.Tensor = transform(image)
    pixels: Pixels = (tensor * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels


def _colour(pixels: Pixels, x: float = 0.5, y: float = 0.5) -> tuple[int, ...]:
    """Return the colour at a place given as parts of width and height."""
    height, width, _ = pixels.shape
    return tuple(int(value) for value in pixels[int(y * height), int(x * width)])


def _close(colour: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_plain_images_equal_open_clips(framing: Framing) -> None:
    """A model sees, pixel for pixel, what open_clip's own preprocessing would show it."""
    with DecoderPool(1, framing, 10**6, timeout_s=60, memory_bytes=2**30) as pool:
        for size in SIZES:
            for image in (noise(*size), noise(*size).convert("L")):
                pixels = pool.decode(encode(image, "PNG")).pixels
                assert np.array_equal(pixels, _open_clip_pixels(image, framing)), (size, image.mode)


@settings(deadline=None, max_examples=80)
@given(
    framing=st.sampled_from(FRAMINGS), short=st.integers(1, 60), ratio=st.floats(1, 12), wide=...
)
def test_sizes_are_rounded_like_open_clips(
    framing: Framing, short: int, ratio: float, wide: bool
) -> None:
    """For no size of picture is the resize or the crop off by one."""
    size = (int(short * ratio), short) if wide else (short, int(short * ratio))
    image = noise(*size)
    picture = read_picture(encode(image, "PNG"), framing, 10**6)
    assert np.array_equal(np.asarray(picture.image), _open_clip_pixels(image, framing))


def _photo(framing: Framing, size: tuple[int, int]) -> PillowImage.Image:
    """Return a picture with about as much detail as the frame can show."""
    detail = noise(max(2, framing.width_px // 3), max(2, framing.height_px // 3))
    return detail.resize(size, PillowImage.Resampling.BICUBIC)


def _lying(image: PillowImage.Image, orientation: int, kind: str, **options: Any) -> bytes:
    """Return a file that is to be turned before it is looked at."""
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif, quality=95, **options)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    framing=st.sampled_from(FRAMINGS),
    short=st.floats(0.5, 20),
    ratio=st.floats(1, 3),
    wide=...,
    mode=st.sampled_from(["RGB", "L"]),
    orientation=st.integers(1, 8),
    kind=st.sampled_from([("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {"method": 0})]),
)
def test_a_lossy_picture_is_close_to_open_clips(
    framing: Framing,
    short: float,
    ratio: float,
    wide: bool,
    mode: str,
    orientation: int,
    kind: tuple[str, dict[str, Any]],
) -> None:
    """However much a picture is averaged down, it stays in its place and keeps its detail."""
    side = min(framing.width_px, framing.height_px, 50)
    size = (int(short * ratio * side), int(short * side))
    image = _photo(framing, size if wide else size[::-1]).convert(mode)
    data = _lying(image, orientation, kind[0], **kind[1])
    stock = ImageOps.exif_transpose(PillowImage.open(io.BytesIO(data))).convert(mode)
    pixels = np.asarray(read_picture(data, framing, 10**7).image)
    difference = np.abs(pixels.astype(int) - _open_clip_pixels(stock, framing))
    assert difference.mean() < 1


@settings(deadline=None, max_examples=100)
@given(
    framing=st.sampled_from(FRAMINGS),
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    orientation=st.integers(1, 8),
)
def test_a_jpeg_is_decoded_with_pixels_to_spare(
    framing: Framing, width: int, height: int, orientation: int
) -> None:
    """What the resize starts from is larger than its result, but never much larger than needed."""
    data = _lying(solid(9, "L", (width, height)), orientation, "JPEG")
    with PillowImage.open(io.BytesIO(data)) as image:
        full = draft(image, framing)
        decoded_width = image.width
    upright = (height, width) if orientation >= 5 else (width, height)
    assert full.size == upright
    shrinks = (upright[0] / framing.width_px, upright[1] / framing.height_px)
    shrink = max(shrinks) if framing.resize_mode == "longest" else min(shrinks)
    divisor = round(width / decoded_width) if decoded_width < width else 1
    assert divisor == 1 or divisor * 2.3 < shrink
    if framing.width_px == framing.height_px and framing.resize_mode != "longest":
        assert divisor == 8 or divisor * 5 > shrink


def test_a_cmyk_or_phones_jpeg_is_close_to_open_clips_at_any_size() -> None:
    """Print colours and files with a second picture are decoded smaller just as well."""
    framing = FRAMINGS[0]
    photo = _photo(framing, (1801, 1203))
    for data in (
        encode(photo.convert("CMYK"), "JPEG", quality=95),
        encode(photo, "MPO", quality=95, save_all=True, append_images=[solid("blue")]),
    ):
        expected = _open_clip_pixels(PillowImage.open(io.BytesIO(data)).convert("RGB"), framing)
        pixels = np.asarray(read_picture(data, framing, 10**7).image)
        assert np.abs(pixels.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_extreme_shapes_are_framed(framing: Framing) -> None:
    """A picture one pixel wide and as long as a file can be is framed within the memory limit."""
    with DecoderPool(1, framing, 10**6, timeout_s=60, memory_bytes=2**29) as pool:
        for size in ((1, 20_000), (20_000, 1), (2, 65_535), (65_535, 3)):
            image = pool.decode(encode(solid("lime", size=size), "PNG"))
            assert image.pixels.shape == (framing.height_px, framing.width_px, 3)
            middle = image.pixels[framing.height_px // 3 : -framing.height_px // 3]
            assert (middle == (0, 255, 0)).all(axis=-1).any()


def test_a_long_picture_shows_its_middle() -> None:
    """Where only the part that is kept is resized, it is the part that open_clip would keep."""
    framing = Framing(32, 32, "bicubic", "shortest", 0)
    image = PillowImage.linear_gradient("L").resize((8, 4000))
    with DecoderPool(1, framing, 10**6, timeout_s=60, memory_bytes=2**30) as pool:
        pixels = pool.decode(encode(image, "PNG")).pixels
    difference = np.abs(pixels.astype(int) - _open_clip_pixels(image, framing).astype(int))
    assert difference.max() <= 1


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
)
def test_every_size_and_mode_fits_the_frame(
    pool: DecoderPool, framing: Framing, width: int, height: int, mode: str
) -> None:
    """Whatever a sound image is like, its pixels have the framing's shape and are bytes."""
    image = pool.decode(encode(PillowImage.new(mode, (width, height)), "PNG"))
    assert image.pixels.shape == (framing.height_px, framing.width_px, 3)
    assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize("kind", SUPPORTED)
def test_each_supported_format_is_decoded(pool: DecoderPool, kind: str) -> None:
    """JPEG, PNG, WebP, GIF and AVIF all show their colour, and single pictures bear no note."""
    image = pool.decode(encode(solid((200, 100, 50)), kind))
    assert _close(_colour(image.pixels), (200, 100, 50), 6)
    assert image.notes == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_counts(pool: DecoderPool, kind: str) -> None:
    """An animation is judged by its first frame, and the verdict says so."""
    image = pool.decode(animation(kind))
    assert _close(_colour(image.pixels), (255, 0, 0), 6)
    assert image.notes == (Note.FIRST_FRAME_ONLY,)


def test_a_phones_extra_picture_is_no_animation(pool: DecoderPool) -> None:
    """A JPEG that holds a second picture, as phones write, is a single picture to a viewer."""
    frames = [solid("red"), solid("blue")]
    image = pool.decode(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert _close(_colour(image.pixels), (254, 0, 0))
    assert image.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(pool: DecoderPool, kind: str, orientation: int) -> None:
    """Each EXIF orientation is undone, so that a model sees what a person sees."""
    undone = {
        1: None,
        2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
        3: PillowImage.Transpose.ROTATE_180,
        4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
        5: PillowImage.Transpose.TRANSPOSE,
        6: PillowImage.Transpose.ROTATE_90,
        7: PillowImage.Transpose.TRANSVERSE,
        8: PillowImage.Transpose.ROTATE_270,
    }[orientation]
    stored = corners() if undone is None else corners().transpose(undone)
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    pixels = pool.decode(encode(stored, kind, exif=exif)).pixels
    places = {(0.2, 0.2): (255, 0, 0), (0.8, 0.2): (0, 255, 0), (0.8, 0.8): (0, 0, 255)}
    for (x, y), wanted in places.items():
        assert _close(_colour(pixels, x, y), wanted, 12)


def test_broken_exif_does_not_hide_a_sound_picture(pool: DecoderPool) -> None:
    """Metadata that cannot be read costs the orientation only."""
    data = encode(solid("lime"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20))
    assert _close(_colour(pool.decode(data).pixels), (0, 255, 1))


def test_transparency_lies_on_white(pool: DecoderPool) -> None:
    """What can be seen through is seen through to white, in every way to say so in a file."""
    clear, half = (0, 0, 0, 0), (0, 0, 0, 128)
    palette = solid(0, "P")
    palette.putpalette([10, 20, 30] * 256)
    cases = {
        "RGBA clear": (encode(solid(clear, "RGBA"), "PNG"), 255),
        "RGBA half": (encode(solid(half, "RGBA"), "PNG"), 127),
        "LA": (encode(solid((0, 0), "LA"), "PNG"), 255),
        "palette": (encode(palette, "PNG", transparency=0), 255),
        "palette with alphas": (encode(palette, "PNG", transparency=b"\0" * 256), 255),
        "colour key": (encode(solid("black"), "PNG", transparency=(0, 0, 0)), 255),
        "grey key": (encode(solid(0, "L"), "PNG", transparency=0), 255),
        "GIF": (encode(palette, "GIF", transparency=0), 255),
        "WebP": (encode(solid(clear, "RGBA"), "WEBP", lossless=True), 255),
        "AVIF": (encode(solid(clear, "RGBA"), "AVIF"), 255),
    }
    for name, (data, grey) in cases.items():
        assert _close(_colour(pool.decode(data).pixels), (grey,) * 3), name


def test_print_colours_are_converted(pool: DecoderPool) -> None:
    """A CMYK JPEG, whose values Adobe stores inverted, has its own colours and not negatives."""
    cyan = encode(solid((255, 0, 0, 0), "CMYK"), "JPEG", quality=95)
    white = encode(solid((0, 0, 0, 0), "CMYK"), "JPEG", quality=95)
    assert _close(_colour(pool.decode(cyan).pixels), (0, 255, 255), 6)
    assert _close(_colour(pool.decode(white).pixels), (255, 255, 255), 6)


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (257, 1), (32_896, 128), (65_535, 255)])
def test_16_bit_grey_is_scaled(pool: DecoderPool, value: int, grey: int) -> None:
    """Sixteen bits of grey become eight by scaling; nothing is cut off."""
    assert _colour(pool.decode(encode(solid(value, "I;16"), "PNG")).pixels) == (grey,) * 3


def test_one_bit_is_black_and_white(pool: DecoderPool) -> None:
    """The two values of a one-bit image are black and white."""
    assert _colour(pool.decode(encode(solid(1, "1"), "PNG")).pixels) == (255, 255, 255)
    assert _colour(pool.decode(encode(solid(0, "1"), "PNG")).pixels) == (0, 0, 0)


def _profile_with_red_and_blue_swapped() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for old, new in (
        (b"rXYZ", b"----"),
        (b"bXYZ", b"rXYZ"),
        (b"----", b"bXYZ"),
        (b"sRGB", b"mine"),
    ):
        profile[:] = profile.replace(old, new)
    for old, new in ((b"s\0R\0G\0B", b"m\0i\0n\0e"),):
        profile[:] = profile.replace(old, new)
    return bytes(profile)


def test_a_colour_profile_is_followed(pool: DecoderPool) -> None:
    """A file whose profile says that its red is blue shows blue."""
    data = encode(solid("red"), "PNG", icc_profile=_profile_with_red_and_blue_swapped())
    assert _close(_colour(pool.decode(data).pixels), (0, 0, 255), 6)


def test_colour_profiles_do_not_mix() -> None:
    """One process keeps what it worked out of a profile, and takes it for no other file."""
    swapped = _profile_with_red_and_blue_swapped()
    twice = swapped.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    framing = Framing(8, 8, "bicubic", "squash", 0)
    files = {
        encode(solid("red"), "PNG", icc_profile=swapped): (0, 0, 255),
        encode(solid("red"), "PNG", icc_profile=twice): (255, 0, 0),
        encode(solid("red"), "PNG"): (255, 0, 0),
        encode(solid(200, "L"), "PNG", icc_profile=swapped): (200, 200, 200),
    }
    for data, colour in [*files.items()] * 2:
        picture = read_picture(data, framing, 10**6)
        assert _close(_colour(np.asarray(picture.image)), colour, 6)


def test_the_usual_profile_changes_nothing(pool: DecoderPool) -> None:
    """A file that is tagged as sRGB keeps its very pixels."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tagged = pool.decode(encode(noise(64, 48), "PNG", icc_profile=srgb)).pixels
    plain = pool.decode(encode(noise(64, 48), "PNG")).pixels
    assert np.array_equal(tagged, plain)


@pytest.mark.parametrize("size", [1, 127, 128, 5000])
def test_a_broken_colour_profile_is_ignored(pool: DecoderPool, size: int) -> None:
    """A profile that makes no sense does not keep a picture from being judged."""
    data = encode(solid((10, 200, 30)), "PNG", icc_profile=b"\x01" * size)
    assert _colour(pool.decode(data).pixels) == (10, 200, 30)
