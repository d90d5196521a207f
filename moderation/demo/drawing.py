"""How the things of the generated world look: silhouettes, colours and backdrops.

Every kind is a few polygons in the unit square (x to the right, y down), so that one drawing
serves every picture size. Outlines keep a white boat apart from snow.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import cos, pi, sin
from typing import Literal

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
Points = tuple[tuple[float, float], ...]
Tone = Literal["body", "dark", "light"]

COLOURS: Mapping[str, Rgb] = {
    "red": (222, 30, 38),
    "orange": (250, 138, 20),
    "yellow": (250, 225, 40),
    "green": (30, 160, 60),
    "blue": (35, 80, 230),
    "purple": (130, 40, 170),
    "pink": (255, 130, 190),
    "white": (250, 250, 250),
}

# Sky and ground are pale or dull: only things are of a full colour.
BACKDROPS: Mapping[str, tuple[Rgb, Rgb]] = {
    "beach": ((178, 210, 226), (222, 204, 160)),
    "grass": ((190, 214, 232), (122, 150, 98)),
    "night": ((22, 26, 52), (40, 44, 58)),
    "snow": ((198, 206, 218), (228, 232, 238)),
    "street": ((184, 184, 190), (98, 98, 104)),
    "sea": ((200, 212, 220), (84, 122, 144)),
}

_OUTLINE: Rgb = (34, 32, 42)
_OUTLINE_WIDTH = 0.035  # of the sprite's side: about half a pixel where the model looks
_SUPERSAMPLING = 3


def _round(cx: float, cy: float, rx: float, ry: float) -> Points:
    """Return an ellipse around (cx, cy)."""
    turns = (2 * pi * k / 36 for k in range(36))
    return tuple((cx + rx * cos(t), cy + ry * sin(t)) for t in turns)


def _arc(cx: float, cy: float, radius: float, start: float, end: float) -> Points:
    """Return points on a circle from `start` to `end` degrees, clockwise from three o'clock."""
    turns = (pi / 180 * (start + (end - start) * k / 18) for k in range(19))
    return tuple((cx + radius * cos(t), cy + radius * sin(t)) for t in turns)


def _band(cx: float, cy: float, outer: float, inner: float, start: float, end: float) -> Points:
    """Return a bent stripe between two circles."""
    return _arc(cx, cy, outer, start, end) + _arc(cx, cy, inner, end, start)


def _star() -> Points:
    spokes = ((k * pi / 5 - pi / 2, 0.52 if k % 2 == 0 else 0.21) for k in range(10))
    return tuple((0.5 + r * cos(t), 0.53 + r * sin(t)) for t, r in spokes)


def _heart() -> Points:
    lobes = _arc(0.27, 0.3, 0.25, 150, 335) + _arc(0.73, 0.3, 0.25, 205, 390)
    return (*lobes, (0.5, 0.97))


SILHOUETTES: Mapping[str, tuple[tuple[Points, Tone], ...]] = {
    "ball": (
        (_round(0.5, 0.5, 0.48, 0.48), "body"),
        (_round(0.34, 0.32, 0.12, 0.1), "light"),
    ),
    "house": (
        (((0.0, 0.46), (0.5, 0.02), (1.0, 0.46)), "dark"),
        (((0.1, 0.46), (0.9, 0.46), (0.9, 0.98), (0.1, 0.98)), "body"),
        (((0.4, 0.66), (0.6, 0.66), (0.6, 0.98), (0.4, 0.98)), "dark"),
    ),
    "star": ((_star(), "body"),),
    "heart": ((_heart(), "body"),),
    "tree": (
        (((0.42, 0.78), (0.58, 0.78), (0.58, 0.99), (0.42, 0.99)), "dark"),
        (((0.5, 0.36), (0.88, 0.82), (0.12, 0.82)), "body"),
        (((0.5, 0.0), (0.78, 0.5), (0.22, 0.5)), "body"),
    ),
    "car": (
        (((0.2, 0.5), (0.32, 0.22), (0.7, 0.22), (0.84, 0.5)), "body"),
        (((0.0, 0.48), (1.0, 0.48), (1.0, 0.74), (0.0, 0.74)), "body"),
        (((0.3, 0.47), (0.37, 0.29), (0.66, 0.29), (0.73, 0.47)), "light"),
        (_round(0.24, 0.74, 0.13, 0.13), "dark"),
        (_round(0.76, 0.74, 0.13, 0.13), "dark"),
    ),
    "fish": (
        (((0.58, 0.5), (1.0, 0.2), (1.0, 0.8)), "body"),
        (_round(0.37, 0.5, 0.37, 0.27), "body"),
        (_round(0.2, 0.44, 0.06, 0.06), "dark"),
    ),
    "boat": (
        (((0.44, 0.0), (0.5, 0.0), (0.5, 0.72), (0.44, 0.72)), "dark"),
        (((0.55, 0.04), (0.96, 0.6), (0.55, 0.6)), "light"),
        (((0.0, 0.68), (1.0, 0.68), (0.8, 0.96), (0.2, 0.96)), "body"),
    ),
    "cup": (
        (_band(0.66, 0.52, 0.32, 0.18, -90, 90), "body"),
        (((0.06, 0.1), (0.7, 0.1), (0.64, 0.94), (0.12, 0.94)), "body"),
        (_round(0.38, 0.12, 0.32, 0.09), "dark"),
    ),
    "umbrella": (
        (((0.47, 0.4), (0.53, 0.4), (0.53, 0.88), (0.47, 0.88)), "dark"),
        (_band(0.63, 0.86, 0.15, 0.09, 0, 180), "dark"),
        (_arc(0.5, 0.5, 0.5, 180, 360), "body"),
    ),
}


def _tones(colour: Rgb) -> Mapping[Tone, Rgb]:
    red, green, blue = colour
    return {
        "body": colour,
        "dark": (red * 11 // 20, green * 11 // 20, blue * 11 // 20),
        "light": ((red + 255) // 2, (green + 255) // 2, (blue + 255) // 2),
    }


@lru_cache(maxsize=16384)  # 80 things in each of the sizes that a training run draws
def sprite(kind: str, colour: str, side_px: int) -> Image.Image:
    """Return one thing as RGBA, `side_px` square, transparent around it. Do not draw on it."""
    scale = side_px * _SUPERSAMPLING
    margin = _OUTLINE_WIDTH * scale
    inner = scale - 2 * margin
    image = Image.new("RGBA", (scale, scale))
    draw = ImageDraw.Draw(image)
    tones = _tones(COLOURS[colour])
    parts = [
        ([(margin + inner * x, margin + inner * y) for x, y in points], tone)
        for points, tone in SILHOUETTES[kind]
    ]
    for points, _ in parts:
        draw.line(
            [*points, points[0], points[1]],
            fill=(*_OUTLINE, 255),
            width=max(1, round(2 * margin)),
            joint="curve",
        )
    for points, tone in parts:
        draw.polygon(points, fill=(*tones[tone], 255))
    return image.reduce(_SUPERSAMPLING)


@lru_cache(maxsize=256)
def backdrop(name: str, horizon: float, side_px: int) -> Image.Image:
    """Return an empty scene as RGB; `horizon` is the share of sky. Do not draw on it."""
    sky, ground = BACKDROPS[name]
    image = Image.new("RGB", (side_px, side_px), sky)
    draw = ImageDraw.Draw(image)
    horizon_px = round(horizon * side_px)
    for row in range(horizon_px, side_px):
        fade = 1 - 0.18 * (row - horizon_px) / side_px  # the ground darkens towards the viewer
        draw.line(
            [(0, row), (side_px, row)],
            fill=(round(ground[0] * fade), round(ground[1] * fade), round(ground[2] * fade)),
        )
    return image
