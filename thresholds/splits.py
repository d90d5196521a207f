"""Three splits by image: to fit the curve on, to choose the threshold on, to report on."""

import hashlib
from enum import StrEnum

import numpy as np

from moderation.errors import InputRefused
from thresholds.labels import Labels

MIN_LABELS = 30


class Split(StrEnum):
    """What a labelled pair is used for; never for two of these."""

    FIT = "fit"
    CHOOSE = "choose"
    REPORT = "report"


# The upper end of each split's share of all images.
_ENDS = ((Split.FIT, 0.4), (Split.CHOOSE, 0.7), (Split.REPORT, 1.0))


def split_of(image: str, *, seed: int = 0) -> Split:
    """The split of an image: its name decides, wherever and whenever it turns up again."""
    digest = hashlib.sha256(f"{seed}\0{image}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return next(split for split, end in _ENDS if place < end)


def take_split(labels: Labels, split: Split, *, seed: int = 0) -> Labels:
    """The pairs of one split. Raises `InputRefused` for fewer than 30 of a class."""
    images, pair_of = np.unique(labels.images, return_inverse=True)
    is_in = np.array([split_of(str(image), seed=seed) is split for image in images], dtype=np.bool_)
    taken = labels.take(is_in[pair_of] if len(images) else np.zeros(0, dtype=np.bool_))
    check_classes(taken, f"the split to {split.value} on")
    return taken


def check_classes(labels: Labels, part: str) -> None:
    """Raise `InputRefused` unless a part has 30 matches and 30 mismatches."""
    for count, name in ((labels.matches, "matches"), (labels.mismatches, "mismatches")):
        if count < MIN_LABELS:
            raise InputRefused(
                f"{part} needs at least {MIN_LABELS} {name}, has {count}; label more pairs, of "
                "more images"
            )
