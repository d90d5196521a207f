"""Pairs of images and captions: read from JSON lines, and shuffled where they have no labels."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moderation.errors import InputRefused
from thresholds.cosines import (
    read_kind,
    read_label,
    read_objects,
    read_split,
    read_weight,
    wrong_line,
)
from thresholds.labels import OWN, UNSPLIT


@dataclass(frozen=True, slots=True)
class Pair:
    """An image by its path or URL, a caption, and whether they belong together.

    `line` is its place in the file; `sha256` names the image by its content, once it was read.
    `of_image` names the one that an edited image was made of, whose pairs stay together.
    """

    line: int
    image: str
    caption: str
    is_match: bool
    kind: str = OWN
    weight: float = 1.0
    split: str = UNSPLIT
    sha256: str | None = None
    of_image: str | None = None


def read_pairs(path: Path, text: str, *, need_labels: bool) -> list[Pair]:
    """Read lines of `{"image", "caption", "label"[, "kind", "weight", "split", "of_image"]}`.

    No image is opened. Without `need_labels` all pairs count as matches, and those labelled as
    mismatches are left out. Raises `InputRefused` at the first line that is wrong, with its number.
    """
    pairs: list[Pair] = []
    for line, document in read_objects(path, text):
        try:
            pair = _pair(line, document, path.parent, need_labels=need_labels)
        except ValueError as error:
            raise wrong_line(path, line, str(error)) from error
        if pairs and (pair.split == UNSPLIT) != (pairs[0].split == UNSPLIT):
            raise wrong_line(path, line, "either all lines have a split or none")
        if need_labels or pair.is_match:
            pairs.append(pair)
    return pairs


def _pair(line: int, document: dict[str, Any], folder: Path, *, need_labels: bool) -> Pair:
    image, caption = document.get("image"), document.get("caption")
    if not (isinstance(image, str) and image and _is_text(image)):
        raise ValueError("image must be a path or URL")
    if not (isinstance(caption, str) and _is_text(caption)):
        raise ValueError("caption must be a text")
    label = document.get("label")
    if label is None and need_labels:
        raise ValueError(
            "has no label; give each line a label, match or mismatch, or use --cold-start for "
            "unlabelled pairs"
        )
    of_image = document.get("of_image")
    if not (of_image is None or (isinstance(of_image, str) and of_image)):
        raise ValueError("of_image must name an image")
    is_url = image.startswith(("http://", "https://"))
    return Pair(
        line=line,
        image=image if is_url else str(folder / image),
        caption=caption,
        is_match=label is None or read_label(label),
        kind=read_kind(document.get("kind")),
        weight=read_weight(document.get("weight", 1.0)),
        split=read_split(document["split"]) if "split" in document else UNSPLIT,
        of_image=of_image,
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON's \ud83d alone: what is left of an emoji where a text was cut in UTF-16.
        return False
    return True


def shuffled(pairs: Sequence[Pair], *, seed: int) -> list[Pair]:
    """For a cold start: each image, named by its content, with another's caption.

    Raises `InputRefused` when all captions are an image's own, as with a single image.
    """
    order = np.random.default_rng(seed).permutation(len(pairs))
    own = defaultdict(set)
    for pair in pairs:
        own[pair.sha256].add(pair.caption)
    mismatched = []
    for position, index in enumerate(order):
        pair = pairs[index]
        # The next caption, in shuffled order, that is none of this image's own.
        for step in range(1, len(order)):
            other = pairs[order[(position + step) % len(order)]].caption
            if other not in own[pair.sha256]:
                mismatched.append(replace(pair, caption=other, is_match=False, kind="random"))
                break
        else:
            raise InputRefused(
                "a cold start needs at least two different images, with captions of their own"
            )
    return mismatched
