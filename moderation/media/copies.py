"""Our own copies of images, for people to look at: re-encoded, without anything but the picture.

Untrusted bytes are decoded in a sandboxed process like those to be scored; what comes back are
pixels, and a JPEG of ours is made of them. So whoever looks at a copy runs no decoder on a file
that somebody else has written, and a copy tells nothing of camera, place or author.
"""

import io

import numpy as np
from PIL import Image as Pillow

from moderation.media.decode import DecoderPool
from moderation.media.wire import MAX_IMAGES
from moderation.settings import Settings
from moderation.types import Framing, Image

CONTENT_TYPE = "image/jpeg"
LONGEST_SIDE_PX = 1600
# Artefacts are hard to see, and a fifth of the bytes that 95 takes.
_QUALITY = 88
# Hides neither white nor black drawings on transparency; and all sides within one frame.
_FRAMING = Framing(LONGEST_SIDE_PX, LONGEST_SIDE_PX, "bicubic", "within", fill=128)
_SHARED_BYTES = MAX_IMAGES * LONGEST_SIDE_PX * LONGEST_SIDE_PX * 3
# Decoding for verdicts goes first where there are not enough cores for all.
NICENESS = 10


def open_copy_decoder(settings: Settings) -> DecoderPool:
    """One decoder process for copies, started when first needed."""
    return DecoderPool(
        processes=1,
        framing=_FRAMING,
        max_pixels=settings.max_image_pixels,
        timeout_s=settings.decode_timeout_s,
        # What it shares with us counts as its own, and is never all touched: one at a time.
        memory_bytes=settings.decode_memory_bytes + _SHARED_BYTES,
        niceness=NICENESS,
    )


def encode_copy(image: Image) -> bytes:
    """A JPEG of the pixels, and of nothing else; the same for the same pixels."""
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(image.pixels), "RGB").save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
