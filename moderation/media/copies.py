"""Our own copies of images, for people to look at: re-encoded, without anything but the picture.

Untrusted bytes are decoded in a sandboxed process like those to be scored; what comes back are
pixels, and another process, which sees nothing else, makes a JPEG of ours of them. So whoever
looks at a copy runs no decoder on a file that somebody else has written, and a copy tells
nothing of camera, place or author.
"""

from collections.abc import Sequence
from types import TracebackType

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.decode import DecoderPool
from moderation.media.encoder import Encoder
from moderation.media.encoder_wire import LONGEST_SIDE_PX, PLACES
from moderation.media.files import ImageFile
from moderation.media.wire import MAX_IMAGES
from moderation.settings import Settings
from moderation.types import Framing, Image

CONTENT_TYPE = "image/jpeg"
# How many files a call; all their pixels are held at once, up to 8 MB each.
AT_ONCE = min(PLACES, MAX_IMAGES)
# Hides neither white nor black drawings on transparency; and all sides within one frame.
_FRAMING = Framing(LONGEST_SIDE_PX, LONGEST_SIDE_PX, "bicubic", "within", fill=128)
_SHARED_BYTES = MAX_IMAGES * LONGEST_SIDE_PX * LONGEST_SIDE_PX * 3
# Decoding for verdicts goes first where there are not enough cores for all.
NICENESS = 10


class CopyMaker:
    """Two processes that make JPEGs of image files; used by one thread at a time.

    They start when first needed. Close it after use, or enter it with `with`.
    """

    def __init__(self, settings: Settings) -> None:
        self._decoder = open_copy_decoder(settings)
        self._encoder = Encoder(settings.decode_timeout_s, NICENESS)

    def __enter__(self) -> "CopyMaker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def make_all(self, files: Sequence[ImageFile]) -> list[bytes | Unscorable | TemporaryFault]:
        """JPEGs of up to `AT_ONCE` files, which it closes, in order; or why there is none.

        One that cannot be decoded keeps none of the others. Where the encoder fails, all that
        were decoded have a `TemporaryFault`.
        """
        outcomes = [answer.outcome for answer in self._decoder.decode_all(files)]
        images = [outcome for outcome in outcomes if isinstance(outcome, Image)]
        made = iter(self._encoder.encode_all(images) if images else [])
        return [next(made) if isinstance(outcome, Image) else outcome for outcome in outcomes]

    def close(self) -> None:
        """End both processes."""
        self._decoder.close()
        self._encoder.close()


def open_copy_decoder(settings: Settings) -> DecoderPool:
    """One decoder process for copies, started when first needed."""
    return DecoderPool(
        processes=1,
        framing=_FRAMING,
        max_pixels=settings.max_image_pixels,
        timeout_s=settings.decode_timeout_s,
        # What it shares with us counts as its own; of its places `AT_ONCE` are ever touched.
        memory_bytes=settings.decode_memory_bytes + _SHARED_BYTES,
        niceness=NICENESS,
    )
