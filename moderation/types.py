"""The frozen types that the stages of the pipeline hand on.

Read in this order they tell a submission's story: a `Submission` names an image, the
image becomes an `Image`, image and caption become a `PairScore`, and a `Calibration`
turns that into a `Verdict`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from moderation.curves import Curve

Pixels = NDArray[np.uint8]

# The stream of a submission whose platform names none; its threshold serves all without their own.
DEFAULT_POLICY = "default"


class Outcome(StrEnum):
    """What the pipeline says of a submission."""

    PASS = "pass"  # noqa: S105 - not a password
    FLAG = "flag"
    UNSCORABLE = "unscorable"


class Reason(StrEnum):
    """Why a submission cannot be scored. A person looks at each of these."""

    IMAGE_URL_REFUSED = "image_url_refused"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_UNREACHABLE = "image_unreachable"
    IMAGE_TOO_MANY_BYTES = "image_too_many_bytes"
    IMAGE_TOO_MANY_PIXELS = "image_too_many_pixels"
    IMAGE_UNSUPPORTED = "image_unsupported"
    IMAGE_CORRUPT = "image_corrupt"
    IMAGE_DECODER_FAILED = "image_decoder_failed"
    CAPTION_EMPTY = "caption_empty"
    CAPTION_EMOJI_ONLY = "caption_emoji_only"
    CAPTION_URL_ONLY = "caption_url_only"
    SCORING_FAILED = "scoring_failed"


class Note(StrEnum):
    """What a reader of a verdict should know about how it came to be."""

    FIRST_FRAME_ONLY = "first_frame_only"
    CAPTION_TRUNCATED = "caption_truncated"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is: exactly one of our blob store's key and a URL of the platform."""

    blob: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.blob is None) == (self.url is None):
            raise ValueError("an ImageRef has either a blob or a url")


@dataclass(frozen=True, slots=True)
class NewSubmission:
    """A submission as a platform hands it in, before it is stored."""

    platform: str
    external_id: str | None
    policy: str
    caption: str
    image: ImageRef


@dataclass(frozen=True, slots=True)
class Submission:
    """One image and one caption that a platform wants judged.

    `attempts` counts how often a worker took it up, this time included, and `faults` how
    often it was put off after a temporary fault: the difference is workers that died on it.
    """

    id: UUID
    platform: str
    external_id: str | None
    policy: str
    caption: str
    image: ImageRef
    created_at: datetime
    attempts: int = 0
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Framing:
    """The geometry a model wants its images in; colours are normalised on the device."""

    height_px: int
    width_px: int
    interpolation: str
    resize_mode: str
    fill: int


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded image, framed for the model: `pixels` is uint8, (height, width, 3), sRGB."""

    pixels: Pixels
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class PairScore:
    """The raw CLIP cosine of a pair, in [-1, 1]."""

    cosine: float
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns cosines of one model into match scores by its `curve`; those below are flagged.

    `model` is the fingerprint of the weights and preprocessing that it was made for.
    """

    version: str
    model: str
    curve: Curve
    threshold: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pipeline says, with everything needed to say it again."""

    outcome: Outcome
    calibration_version: str
    model: str
    threshold: float
    cosine: float | None = None
    score: float | None = None
    reason: Reason | None = None
    detail: str | None = None
    notes: tuple[Note, ...] = ()
