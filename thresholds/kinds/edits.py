"""What can be done to a picture: each edit says all, so that applying it takes no chance."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

# Above what eyes and models notice; without it a crop would be a re-encoding too.
_KEPT_QUALITY = 95
_INK = {True: ("black", "white"), False: ("white", "black")}


@dataclass(frozen=True, slots=True)
class Crop:
    """Keep a box, in pixels; `right` and `bottom` lie just outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    def apply(self, picture: Image.Image) -> Image.Image:
        """The box of the picture."""
        return picture.crop((self.left, self.top, self.right, self.bottom))


@dataclass(frozen=True, slots=True)
class Mirror:
    """Exchange left and right."""

    def apply(self, picture: Image.Image) -> Image.Image:
        """The picture mirrored."""
        return ImageOps.mirror(picture)


@dataclass(frozen=True, slots=True)
class Reencode:
    """Save as JPEG of a quality, from 1 to 95."""

    quality: int

    def apply(self, picture: Image.Image) -> Image.Image:
        """The picture as it is: the loss comes with saving."""
        return picture


@dataclass(frozen=True, slots=True)
class Print:
    """Print lines on a band along an edge, `dark` with light text on it or the reverse."""

    lines: tuple[str, ...]
    text_px: int
    edge: Literal["top", "bottom"]
    dark: bool

    @property
    def band_px(self) -> int:
        """How high the band is."""
        return line_px(self.text_px) * len(self.lines) + 2 * margin_px(self.text_px)

    def apply(self, picture: Image.Image) -> Image.Image:
        """The picture with its band."""
        printed = picture.copy()
        top = 0 if self.edge == "top" else printed.height - self.band_px
        band = Image.new("RGB", (printed.width, self.band_px), _INK[self.dark][0])
        draw, font = ImageDraw.Draw(band), ImageFont.load_default(self.text_px)
        for number, line in enumerate(self.lines):
            left = (printed.width - font.getlength(line)) / 2
            place = (left, margin_px(self.text_px) + number * line_px(self.text_px))
            draw.text(place, line, fill=_INK[self.dark][1], font=font)
        printed.paste(band, (0, top))
        return printed


Edit = Crop | Mirror | Reencode | Print


def line_px(text_px: int) -> int:
    """The height of a line of text."""
    return round(1.3 * text_px)


def margin_px(text_px: int) -> int:
    """The distance of text from the band's edge."""
    return max(2, text_px // 3)


# For measuring alone, by one thread: fonts are not shared while they draw.
@lru_cache(maxsize=64)
def _font(text_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(text_px)


def wrapped(text: str, text_px: int, width_px: int) -> tuple[str, ...] | None:
    """The text in lines that fit, or None where a single word does not."""
    font = _font(text_px)
    room = width_px - 2 * margin_px(text_px)
    lines: list[str] = []
    for word in text.split():
        if font.getlength(word) > room:
            return None
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def encoded(edit: Edit, picture: Image.Image, *, is_lossless: bool) -> tuple[bytes, str]:
    """The edited picture as a file's bytes, and how its name ends.

    What came without loss stays without it, but for `Reencode`, which is JPEG always.
    """
    edited = edit.apply(picture)
    file = io.BytesIO()
    if is_lossless and not isinstance(edit, Reencode):
        edited.save(file, "PNG")
        return file.getvalue(), ".png"
    if isinstance(edit, Reencode):
        edited.save(file, "JPEG", quality=edit.quality)
    else:
        edited.save(file, "JPEG", quality=_KEPT_QUALITY, subsampling=0)
    return file.getvalue(), ".jpg"
