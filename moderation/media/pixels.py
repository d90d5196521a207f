"""Turns the bytes of an image file into an RGB picture framed for a model, with Pillow.

Runs in the sandboxed child only, and so imports neither numpy nor what imports it. For
plain RGB and grey images the result equals open_clip's stock preprocessing pixel for pixel
(`open_clip.transform.image_transform`: torchvision's Resize and CenterCrop on Pillow).

JPEG, WebP and AVIF, lossy as a rule, come close with less work: `framing.draft` says how.
"""

import io
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from moderation.media.framing import draft, frame, pad
from moderation.media.wire import Status

if TYPE_CHECKING:
    from moderation.types import Framing

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
# The longest side that JPEG can write. Longer ones are attacks: Pillow keeps 8 bytes a row,
# and resizing a one-pixel-wide image widens every row before it drops any.
MAX_SIDE_PX = 65_535
_MAX_PROFILE_BYTES = 4 * 2**20
_WHITE = (255, 255, 255)

# What people and attackers send under a picture's name, by its first bytes.
_LOOKS_LIKE = (
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"PK\3\4", "a ZIP archive"),
    (b"\x1aE\xdf\xa3", "a WebM video"),
)
_LOOKS_LIKE_MARKUP = ((b"<svg", "SVG"), (b"<!doctype html", "HTML"), (b"<html", "HTML"))
_SUPPORTED_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
_JPEG = ("JPEG", "MPO")
_LOSSY = (*_JPEG, "WEBP", "AVIF")
_AVIF_BRANDS = (b"avif", b"avis")


class Picture(NamedTuple):
    """A picture in mode RGB; a framed one is as large as the framing says, or lies within it."""

    image: Image.Image
    first_frame_only: bool


class RejectedError(Exception):
    """A file that gives no picture."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def read_picture(data: bytes, framing: "Framing", max_pixels: int) -> Picture:
    """Decode a file's first frame, upright and on white, framed for the model.

    One that is only to lie within the frame is for people: on the framing's fill, which may be a
    grey that hides neither dark nor bright drawings.

    Raises `RejectedError`, and `MemoryError` where the process has not enough.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read(data, framing, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RejectedError(Status.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except (RejectedError, MemoryError, ImportError):
        raise  # a module that the sandbox keeps from loading is our mistake, not the file's
    except Exception as error:  # a decoder fed with arbitrary bytes may raise anything
        raise RejectedError(Status.CORRUPT, f"{type(error).__name__}: {error}") from error


def _read(data: bytes, framing: "Framing", max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
            raise RejectedError(
                Status.TOO_MANY_PIXELS,
                f"{width} x {height} pixels; the limit is {max_pixels} in all "
                f"and {MAX_SIDE_PX} a side",
            )
        full = draft(image, framing) if image.format in _LOSSY else None
        image.load()
        profile = image.info.get("icc_profile")
        is_for_people = framing.resize_mode == "within"
        ground = (framing.fill,) * 3 if is_for_people else _WHITE
        flat = _flatten(_upright(image), ground)
        animated = _is_animated(image)
    framed = _to_srgb(frame(flat, framing, full), profile)
    return Picture(framed if is_for_people else pad(framed, framing), animated)


def as_seen(image: Image.Image) -> Picture:
    """Decode an opened image's first frame as people see it: upright, on white, in sRGB, whole.

    Raises whatever Pillow does on a damaged file.
    """
    image.load()
    profile = image.info.get("icc_profile")
    picture = _to_srgb(_flatten(_upright(image), _WHITE), profile)
    return Picture(picture, _is_animated(image))


def _upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # noqa: S110 - cameras write broken EXIF under sound pictures
        pass
    return image


def _flatten(image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    """Return an L, RGB or CMYK image without transparency, on a ground of this colour."""
    if image.mode.startswith("I"):
        return _grey_from_16_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        flat = Image.new("RGB", rgba.size, ground)
        flat.paste(rgba, mask=rgba.getchannel("A"))
        return flat
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("1", "F") else "RGB")


def _grey_from_16_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion cuts off at 255, which turns most of a picture white.
    return image.convert("I").point([round(value / 257) for value in range(2**16)], "L")


def _is_animated(image: Image.Image) -> bool:
    # A phone's JPEG may hold several pictures (MPO), of which the first is the one meant.
    if image.format in _JPEG:
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, IndexError):
        return False  # damage behind the first frame does not concern it


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert to RGB, by the file's colour profile where that is sane and says something.

    It runs on the framed picture: a profile acts on single pixels, so it need not run on more.
    """
    if isinstance(profile, bytes) and 0 < len(profile) <= _MAX_PROFILE_BYTES:
        try:
            transform = _transform(profile, image.mode)
            if transform is not None:
                converted = ImageCms.applyTransform(image, transform)
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that does not fit the picture is worth less than none
    return image.convert("RGB")


# A platform's posts bear few different profiles, and working one out takes milliseconds.
@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what turns a profile's colours into sRGB; None for a profile that is sRGB."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in (source.profile.profile_description or "").lower():
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _unidentified(data: bytes) -> RejectedError:
    """Tell a damaged file of a supported kind from one of another kind."""
    if data.startswith(_SUPPORTED_MAGIC) or data[8:12] in (b"WEBP", *_AVIF_BRANDS):
        return RejectedError(Status.CORRUPT, "the file is damaged or cut off near its beginning")
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    names = [name for magic, name in _LOOKS_LIKE if data.startswith(magic)]
    if start.startswith(b"<"):
        names += [name for tag, name in _LOOKS_LIKE_MARKUP if tag in start]
    if data[4:8] == b"ftyp":
        names.append("HEIC or a video")
    what = f"it looks like {names[0]}" if names else "it is none of them"
    return RejectedError(Status.UNSUPPORTED, f"{_listed(FORMATS)} are supported; {what}")


def _listed(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}"
