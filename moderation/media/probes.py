"""JPEGs drawn to try decoders on: every kind that platforms send, none with anything to hide."""

import io
import random
from itertools import product

from PIL import Image, ImageDraw

# Width and height: landscape, portrait, large, and sides that fill no block of 8 or 16.
_SIZES = ((640, 480), (480, 640), (1080, 1080), (333, 251))
_GREY = (500, 375)
# Of so many pixels that buffers are as large from the beginning as they will ever be.
_LARGE = (6400, 4800)
_4_4_4, _4_2_0 = 0, 2
_QUALITY = 88
_SEED = 20


def draw_probes() -> list[bytes]:
    """A few dozen JPEG files, the same ones each time."""
    draw = random.Random(_SEED)  # noqa: S311 - pictures, not secrets
    files = []
    for size, subsampling, progressive in product(_SIZES, (_4_4_4, _4_2_0), (False, True)):
        files += [
            _jpeg(_scene(size, draw), subsampling=subsampling, progressive=progressive)
            for _ in range(2)
        ]
    grey = _scene(_GREY, draw).convert("L")
    return [*files, _jpeg(grey), _jpeg(grey, progressive=True)]


def draw_large() -> list[bytes]:
    """Two files of many pixels, one progressive."""
    picture = Image.linear_gradient("L").convert("RGB").resize(_LARGE)
    return [_jpeg(picture), _jpeg(picture, progressive=True)]


def _scene(size: tuple[int, int], draw: random.Random) -> Image.Image:
    """Smooth ground and sharp shapes, as photos have them."""
    ground = Image.frombytes("RGB", (6, 5), draw.randbytes(90))
    picture = ground.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(10):
        x, y = draw.randrange(size[0]), draw.randrange(size[1])
        wide, high = draw.randrange(8, size[0] // 3), draw.randrange(8, size[1] // 3)
        shape = draw.choice((pen.ellipse, pen.rectangle))
        shape((x, y, x + wide, y + high), fill=tuple(draw.randbytes(3)))
    return picture


def _jpeg(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, **options)
    return file.getvalue()
