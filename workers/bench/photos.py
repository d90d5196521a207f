"""What the benchmark scores: photos that are drawn, or the files of a folder.

Drawn photos cost a JPEG decoder what camera photos cost it, so that the benchmark needs no
photos at hand: `draw_photos` mixes gradients, shapes and noise that was computed once.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from moderation.demo.world import seeded
from moderation.errors import InputRefused

# As sites store photos. Files of COCO have more quality and full colour, so ours need more
# texture than theirs to have as many bytes and to take about as long to decode.
_QUALITY, _SUBSAMPLING = 90, "4:2:0"

_CLOUD_GRAINS_PX = (320, 80, 40, 20, 10)
_TEXTURE_GRAINS_PX = (4, 2, 1)
_NOISE_STD = 32  # of the whole numbers that noise is; as a factor it keeps that deviation
_NOISE_MAX, _FACTOR_MAX = 160, 200  # their product still fits 16 bits

_WORDS: Mapping[str, str] = {
    "looks": "old young small large red blue green yellow brown black white gray orange tall tiny "
    "shiny dirty clean happy tired hungry colorful bright dark wet round big little beautiful busy",
    "subjects": "man woman boy girl child dog cat horse cow sheep bird elephant giraffe zebra bear "
    "player skier surfer rider driver chef farmer student baby couple family group team puppy",
    "doings": "sitting standing walking lying waiting resting playing sleeping running jumping",
    "positions": "on near behind beside under by in against above below",
    "things": "bench table chair couch bed boat bus train truck car bicycle motorcycle fence tree "
    "wall window door bridge house barn tent umbrella kite board laptop phone clock lamp vase bowl "
    "bottle pizza cake sandwich sign statue fountain rock river beach street building suitcase",
}
_LINKS = ("with", "next to", "in front of", "close to", "across from", "and")
_ENDINGS = ("at night", "in the rain", "on a sunny day", "in the snow", "during the day", "outside")


@dataclass(frozen=True, slots=True)
class Photo:
    """An image file, JPEG where it was drawn, and what is said about it."""

    data: bytes
    caption: str


def draw_photos(
    count: int, *, seed: int, width_px: int = 640, height_px: int = 480
) -> Iterator[Photo]:
    """Yield `count` photos, each unlike all others of this and every other seed."""
    for number in range(count):
        rng = seeded("benchmark", seed, number)
        file = BytesIO()
        picture = _draw(rng, width_px, height_px)
        picture.save(file, "JPEG", quality=_QUALITY, subsampling=_SUBSAMPLING)
        yield Photo(file.getvalue(), _caption(rng))


def read_photos(folder: Path) -> list[Photo]:
    """Read the JPEG, PNG and WebP files in and below a folder, sorted by name.

    Its `captions.jsonl`, if there, has lines `{"image": PATH, "caption": TEXT}`, with paths
    relative to the folder; other keys are ignored, and of several captions of an image the first
    is taken. An image without one gets one made up. Raises `InputRefused`.
    """
    if not folder.is_dir():
        raise InputRefused(f"{folder} is no folder; name one that holds JPEG, PNG or WebP files.")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and _is_image(path))
    images = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    if not images:
        raise InputRefused(f"{folder} holds no image; put JPEG, PNG or WebP files into it.")
    captions = {name: _caption(seeded("benchmark", name)) for name in images}
    captions |= _read_captions(folder / "captions.jsonl", images)
    return [Photo(data, captions[name]) for name, data in images.items()]


def _is_image(path: Path) -> bool:
    # Names lie, and to decode the file is what the benchmark measures.
    with path.open("rb") as file:
        start = file.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def _read_captions(file: Path, images: Mapping[str, bytes]) -> dict[str, str]:
    captions: dict[str, str] = {}
    lines = file.read_bytes().split(b"\n") if file.is_file() else []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                name, caption = _read_line(line)
            except (ValueError, RecursionError) as error:
                raise InputRefused(
                    f'{file}: line {number}: {error}; write {{"image": PATH, "caption": TEXT}}'
                ) from error
            if name not in images:
                raise InputRefused(f"{file}: line {number}: {name} is no image file of the folder")
            captions.setdefault(name, caption)
    return captions


def _read_line(line: bytes) -> tuple[str, str]:
    match json.loads(line):
        case {"image": str(name), "caption": str(caption)} if caption.strip():
            return Path(name).as_posix(), caption
    raise ValueError("no image with a caption")


def _draw(rng: Random, width_px: int, height_px: int) -> Image.Image:
    """Draw a picture as YCbCr, which spares the encoder the conversion."""
    regions = _regions(rng, width_px, height_px)
    small = regions.resize(((width_px + 1) // 2, (height_px + 1) // 2), Image.Resampling.NEAREST)
    # Photos differ in how much texture they have, most of them little and a few a lot.
    texture = rng.lognormvariate(0, 0.5)
    luma = _channel(rng, regions, spread=85, clouds=30, texture=29 * texture)
    # Colour varies less than brightness, and 4:2:0 keeps a quarter of it.
    chroma = [_channel(rng, small, spread=16, clouds=6, texture=8 * texture) for _ in range(2)]
    wide = [channel.resize(regions.size, Image.Resampling.NEAREST) for channel in chroma]
    return Image.merge("YCbCr", (luma, *wide))


def _regions(rng: Random, width_px: int, height_px: int) -> Image.Image:
    """Return a map of shapes that hide each other, numbered from 0: a photo's edges."""
    image = Image.new("L", (width_px, height_px))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, rng.uniform(0.3, 0.7) * height_px, width_px, height_px), fill=1)
    for shape in range(2, 12):
        x, y = rng.uniform(0, width_px), rng.uniform(0, height_px)
        reach_px = rng.uniform(0.05, 0.3) * height_px
        fill = draw.ellipse if shape % 2 else draw.rectangle
        fill((x - reach_px, y - reach_px / 2, x + reach_px, y + reach_px), fill=shape)
    return image


def _channel(
    rng: Random, regions: Image.Image, *, spread: int, clouds: int, texture: float
) -> Image.Image:
    """Return a channel whose regions differ in tone, by `spread`, and in how rough they are."""
    tones = [round(rng.uniform(128 - spread, 128 + spread)) for _ in range(256)]
    strengths = [round(min(_FACTOR_MAX, texture * rng.uniform(0.1, 1.9))) for _ in range(256)]
    values = np.asarray(regions.point(tones)).astype(np.int16)
    # Whole numbers throughout: drawing must not outlast what it is drawn for.
    rough = np.asarray(regions.point(strengths)).astype(np.int16)
    values += rough * _cut(rng, _TEXTURE_GRAINS_PX, regions.size) // _NOISE_STD
    values += _cut(rng, _CLOUD_GRAINS_PX, regions.size) * clouds // _NOISE_STD
    slope = rng.uniform(-spread, spread) / 2
    values += np.linspace(-slope, slope, regions.height).astype(np.int16)[:, np.newaxis]
    return Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))


def _cut(rng: Random, grains_px: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.int16]:
    width, height = size
    top, left = rng.randrange(height), rng.randrange(width)
    return _noise(grains_px, width, height)[top : top + height, left : left + width]


@lru_cache(maxsize=8)
def _noise(grains_px: tuple[int, ...], width: int, height: int) -> NDArray[np.int16]:
    """Return noise of several grains, twice as wide and high, from which photos are cut."""
    width, height = 2 * width, 2 * height
    rng = np.random.default_rng(0)
    total = np.zeros((height, width), np.float32)
    for grain_px in grains_px:
        cells = rng.integers(0, 256, (height // grain_px + 2, width // grain_px + 2), np.uint8)
        layer = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32)
    total -= total.mean()
    total *= _NOISE_STD / total.std()
    return total.round().clip(-_NOISE_MAX, _NOISE_MAX).astype(np.int16)


def _caption(rng: Random) -> str:
    """Return a sentence that is about as long as people's captions of photos are."""
    parts = [_named(rng, "subjects")]
    if rng.random() < 0.18:
        parts += ["and", _named(rng, "subjects")]
    parts += [_word(rng, "doings"), _word(rng, "positions"), _named(rng, "things", plain_share=0.3)]
    if rng.random() < 0.4:
        parts += [rng.choice(_LINKS), _named(rng, "things")]
    if rng.random() < 0.25:
        parts.append(rng.choice(_ENDINGS))
    sentence = " ".join(parts)
    return sentence[0].upper() + sentence[1:] + "." if rng.random() < 0.6 else sentence


def _named(rng: Random, what: str, plain_share: float = 0) -> str:
    noun = _word(rng, what)
    phrase = noun if rng.random() < plain_share else f"{_word(rng, 'looks')} {noun}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _word(rng: Random, what: str) -> str:
    return rng.choice(_WORDS[what].split())
