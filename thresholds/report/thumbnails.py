"""Small copies of images: decoded in the sandbox, without what files carry along."""

import base64
import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from moderation.errors import InputRefused, TemporaryFault, Unscorable
from moderation.media.blobs import BlobStore
from moderation.media.decode import open_decoder
from moderation.media.fetch import Fetcher
from moderation.settings import Settings
from moderation.types import Framing, Pixels

SIDE_PX = 200
_QUALITY = 72
# What fills a picture up to a square; no camera's picture has whole rows of exactly this.
_FILL = 254


def thumbnails(
    images: Iterable[str],
    settings: Settings,
    *,
    blobs: BlobStore | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """`data:` URIs of images that are a URL, and else a key of `blobs`, or without them a path.

    One that cannot be had is left out: its pair was scored, so what is lost is a picture.
    """
    framing = Framing(SIDE_PX, SIDE_PX, "bicubic", "longest", _FILL)
    found: dict[str, str] = {}
    decoder = open_decoder(framing, settings)
    fetcher = Fetcher(
        max_bytes=settings.max_image_bytes,
        timeout_s=settings.fetch_timeout_s,
        max_redirects=settings.fetch_redirects,
        allow_private=settings.fetch_allow_private,
    )
    try:
        for image in images:
            if image not in found:
                with suppress(Unscorable, TemporaryFault, InputRefused, OSError, ValueError):
                    data = _read(image, fetcher, blobs, settings.max_image_bytes)
                    found[image] = _data_uri(_trimmed(decoder.decode(data).pixels))
            on_done()
    finally:
        fetcher.close()
        decoder.close()
    return found


def _read(image: str, fetcher: Fetcher, blobs: BlobStore | None, max_bytes: int) -> bytes:
    if image.startswith(("http://", "https://")):
        return fetcher.fetch(image)
    if blobs is not None:
        return blobs.get(image)
    with Path(image).open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputRefused(f"{image} has more than {max_bytes} bytes")
    return data


def _trimmed(pixels: Pixels) -> Pixels:
    """Without the rows and columns that only fill up the square."""
    is_filled = (pixels == _FILL).all(axis=2)
    rows, columns = (np.flatnonzero(~is_filled.all(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _data_uri(pixels: Pixels) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
