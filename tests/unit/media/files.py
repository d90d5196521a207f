"""Image files that the tests make for themselves, sound and hostile ones."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SUPPORTED = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB picture in which no pixel is like its neighbour."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def solid(colour: Any, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new(mode, size, colour)


def corners() -> Image.Image:
    """Return a picture whose quarters are red, green, blue and white, clockwise from top left."""
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste("red", (0, 0, 32, 32))
    picture.paste("lime", (32, 0, 64, 32))
    picture.paste("blue", (32, 32, 64, 64))
    return picture


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour_type: int = 2) -> bytes:
    """Return a PNG put together by hand: a header that says what it likes, and chunks."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def animation(kind: str) -> bytes:
    """Return an animated file: the first frame red, the second blue."""
    frames = [solid("red"), solid("blue")]
    exact: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    options = exact.get(kind, {})
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
