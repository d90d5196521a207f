"""Resizes and crops pictures for a model as open_clip's stock preprocessing does.

Runs in the sandboxed child only. `open_clip.transform.image_transform` is torchvision's
Resize and CenterCrop on Pillow; `frame` equals it pixel for pixel. Pictures that `draft` has
seen take a shorter way to nearly the same: of the resized picture only the part that is kept
is computed, and a large one is averaged down first, if it is JPEG by libjpeg while decoding.
"""

from typing import TYPE_CHECKING, NamedTuple

from PIL import ExifTags, Image

if TYPE_CHECKING:
    from moderation.types import Framing

# A crop needs little of a very long picture; beyond this ratio only that part is resized.
# Below, all of it is, since a partial resize may differ from the stock one by rounding.
MAX_RESIZED_TO_CROP = 64
# How many times as large as its result a picture must stay when it is averaged down. Models
# differ in what it costs: with 2.4, cosines of photos move by up to 0.0012 for a ViT-B-32 of
# random weights, and with 1 by 0.003; the bundled model's, of its own scenes drawn larger,
# move by up to 0.007 with 2.5 and 0.013 with 2. As they are drawn, they are not halved.
_SPARE = 2.4

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


class Full(NamedTuple):
    """A picture's size in its file, and the box of the decoded image that it fills."""

    size: tuple[int, int]
    box: tuple[float, float, float, float]


def draft(image: Image.Image, framing: "Framing") -> Full:
    """Have a JPEG decoded no larger than the frame asks for; return what an image is upright."""
    width, height = image.size
    # Both ways round, which spares a case for pictures that lie on their side.
    spare = min(
        min(
            side / resized
            for side, resized in zip(size, resized_size(size, framing)[0], strict=True)
        )
        for size in ((width, height), (height, width))
    )
    scale = max(scale for scale in (1, 2, 4, 8) if scale == 1 or scale * _SPARE <= spare)
    if scale > 1 and image.draft(None, (width // scale, height // scale)) is None:
        scale = 1  # only JPEG can
    shown = (width / scale, height / scale)
    # libjpeg rounds up to whole pixels at the right and the bottom, wherever these turn to.
    blank = (image.width - shown[0], image.height - shown[1])
    orientation = _orientation(image)
    if orientation in (5, 6, 7, 8):
        width, height, shown, blank = height, width, shown[::-1], blank[::-1]
    x = blank[0] if orientation in (2, 3, 6, 7) else 0
    y = blank[1] if orientation in (3, 4, 7, 8) else 0
    return Full((width, height), (x, y, x + shown[0], y + shown[1]))


def frame(image: Image.Image, framing: "Framing", full: Full | None = None) -> Image.Image:
    """Resize and crop like open_clip; a `longest` picture may stay smaller than the frame.

    `within`, which no model asks for, keeps all of a picture and enlarges none.

    With `full`, which `draft` returned for this image, it is close to open_clip's.
    """
    size, resample = resized_size(full.size if full else image.size, framing)
    frame_size = (framing.width_px, framing.height_px)
    crop = tuple(min(side, wanted) for side, wanted in zip(size, frame_size, strict=True))
    # Half to even, as Python's round and so torchvision's CenterCrop do it.
    left, top = (round((side - kept) / 2) for side, kept in zip(size, crop, strict=True))
    if not full and size[0] * size[1] <= MAX_RESIZED_TO_CROP * frame_size[0] * frame_size[1]:
        resized = image.resize(size, resample)
        return resized.crop((left, top, left + crop[0], top + crop[1]))
    x, y, right, bottom = full.box if full else (0, 0, *image.size)
    to_source_x, to_source_y = (right - x) / size[0], (bottom - y) / size[1]
    box = (
        x + left * to_source_x,
        y + top * to_source_y,
        x + (left + crop[0]) * to_source_x,
        y + (top + crop[1]) * to_source_y,
    )
    gap = _SPARE if full else None
    return image.resize((crop[0], crop[1]), resample, box, reducing_gap=gap)


def pad(image: Image.Image, framing: "Framing") -> Image.Image:
    """Centre a picture that is smaller than the frame on the fill colour."""
    size = (framing.width_px, framing.height_px)
    if image.size == size:
        return image
    padded = Image.new("RGB", size, (framing.fill,) * 3)
    padded.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return padded


def resized_size(
    size: tuple[int, int], framing: "Framing"
) -> tuple[tuple[int, int], Image.Resampling]:
    """Return the width and height to resize to before cropping, rounded like torchvision."""
    width, height = size
    wanted_w, wanted_h = framing.width_px, framing.height_px
    resample = _RESAMPLING[framing.interpolation]
    if framing.resize_mode == "squash":
        return (wanted_w, wanted_h), resample
    if framing.resize_mode == "within":
        scale = min(1.0, wanted_w / width, wanted_h / height)
        return (max(1, round(width * scale)), max(1, round(height * scale))), resample
    if framing.resize_mode == "shortest" and wanted_w == wanted_h:
        scaled = int(wanted_w * max(size) / min(size))
        return ((wanted_w, scaled) if width <= height else (scaled, wanted_h)), resample
    ratios = (height / wanted_h, width / wanted_w)
    if framing.resize_mode == "shortest":
        # open_clip does not hand the interpolation on here; we owe models what they are used to.
        ratio, resample = min(ratios), Image.Resampling.BICUBIC
    else:
        ratio = max(ratios)
    return (max(1, round(width / ratio)), max(1, round(height / ratio))), resample


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:
        return None  # broken EXIF under a sound picture
