"""Three splits by image: to fit the curve on, to choose the threshold on, to report on."""

import hashlib
import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from moderation.errors import InputRefused
from thresholds.labels import UNSPLIT, Bools, Labels


class Split(StrEnum):
    """What a labelled pair is used for; never for two of these."""

    FIT = "fit"
    CHOOSE = "choose"
    REPORT = "report"


# Fewer labels of a class say next to nothing of a model.
MIN_LABELS = 30

# Of each class. A curve from fewer pairs misleads whoever reads its scores; what is measured on
# few pairs has a wide interval beside it, which says so itself.
MIN_IN_SPLIT = {Split.FIT: 30, Split.CHOOSE: 10, Split.REPORT: 10}

_SHARES = {Split.FIT: 0.4, Split.CHOOSE: 0.3, Split.REPORT: 0.3}


def split_of(image: str, *, seed: int = 0) -> Split:
    """The split of an image: its name decides, wherever and whenever it turns up again."""
    digest = hashlib.sha256(f"{seed}\0{image}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < _SHARES[Split.FIT]:
        return Split.FIT
    return Split.CHOOSE if place < 1 - _SHARES[Split.REPORT] else Split.REPORT


def take_split(labels: Labels, split: Split, *, seed: int = 0) -> Labels:
    """The pairs of one split: by `labels.splits` where that is given, else by the image.

    Raises `InputRefused` where a class has less than `MIN_IN_SPLIT`.
    """
    taken = labels.take(rows_of(labels, split, seed=seed))
    least = MIN_IN_SPLIT[split]
    for has, name in ((taken.matches, "matches"), (taken.mismatches, "mismatches")):
        if has < least:
            more = math.ceil((least - has) / _SHARES[split])
            raise InputRefused(
                f"the split to {split.value} on needs at least {least} {name}, has {has}; label "
                f"about {more} more, each of another image"
            )
    return taken


def rows_of(labels: Labels, split: Split, *, seed: int = 0) -> Bools:
    """Which pairs, (n,), are in one split."""
    images, pair_of = np.unique(labels.images, return_inverse=True)
    by_image = np.array([split_of(str(image), seed=seed) is split for image in images], np.bool_)
    told = labels.splits == split.value
    return np.where(labels.splits == UNSPLIT, by_image[pair_of], told)


def check_classes(labels: Labels) -> None:
    """Raise `InputRefused` unless there are 30 matches and 30 mismatches to split."""
    for has, name in ((labels.matches, "matches"), (labels.mismatches, "mismatches")):
        if has < MIN_LABELS:
            raise InputRefused(
                f"at least {MIN_LABELS} {name} are needed, there are {has}; label "
                f"{MIN_LABELS - has} more at the very least, and some hundred of either class for "
                "narrow intervals"
            )


def check_splits(labels: Labels, *, names: Sequence[str] | None = None) -> None:
    """Raise `InputRefused` where the labels put one image into two splits.

    `names`, one a pair, are what people call the images; else they are called as in `labels`.
    """
    images, pair_of = np.unique(labels.images, return_inverse=True)
    first = np.full(len(images), UNSPLIT, dtype=labels.splits.dtype)
    first[pair_of] = labels.splits
    straddling = np.unique(pair_of[labels.splits != first[pair_of]])
    if not len(straddling):
        return
    rows = np.flatnonzero(pair_of == straddling[0])
    name = names[rows[0]] if names else labels.images[rows[0]]
    splits = " and ".join(np.unique(labels.splits[rows]).tolist())
    others = f", and {len(straddling) - 1} more are in two" if len(straddling) > 1 else ""
    raise InputRefused(
        f"duplicate images across splits: the image {name} is in {splits}{others}. Give all pairs "
        "of an image the same split; nothing was done"
    )
