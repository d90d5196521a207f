"""Pairs of images and captions: read from JSON lines, shuffled, scored with a model."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moderation.captions import caption_fault
from moderation.client import Post, RefusedLine, read_posts
from moderation.errors import InputRefused, TemporaryFault, Unscorable
from moderation.media.decode import open_decoder
from moderation.media.fetch import Fetcher
from moderation.settings import Settings
from moderation.types import PairScore
from thresholds.labels import Labels

if TYPE_CHECKING:
    from moderation.scoring.model import ClipModel


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, named by its content, a caption, and whether they belong together."""

    image: str
    data: bytes
    caption: str
    is_match: bool


def read_pairs(path: Path, settings: Settings, *, need_labels: bool) -> list[Pair]:
    """Read pairs; the first line that is wrong stops it. Unlabelled ones count as matches."""
    fetcher = Fetcher(
        max_bytes=settings.max_image_bytes,
        timeout_s=settings.fetch_timeout_s,
        max_redirects=settings.fetch_redirects,
        allow_private=settings.fetch_allow_private,
    )
    pairs = []
    try:
        for line in read_posts(path, settings):
            if isinstance(line, RefusedLine):
                raise InputRefused(f"{path}: {line.problem}")
            if need_labels and line.label is None:
                raise InputRefused(
                    f"{path}: line {line.line} has no label; give each line a label, match or "
                    "mismatch, or use --cold-start for unlabelled pairs"
                )
            try:
                data = _image(line, fetcher)
            except (Unscorable, TemporaryFault) as error:
                raise InputRefused(f"{path}: line {line.line}: {error.detail}") from error
            name = hashlib.sha256(data).hexdigest()
            pairs.append(Pair(name, data, line.submission.caption, line.label != "mismatch"))
    finally:
        fetcher.close()
    return pairs


def _image(post: Post, fetcher: Fetcher) -> bytes:
    if post.submission.image_url is not None:
        return fetcher.fetch(post.submission.image_url)
    return post.submission.image_base64 or b""


def shuffled(pairs: Sequence[Pair], *, seed: int) -> list[Pair]:
    """For a cold start: the pairs taken as matches, and each image with another's caption.

    Raises `InputRefused` when all captions are an image's own, as with a single image.
    """
    order = np.random.default_rng(seed).permutation(len(pairs))
    own = defaultdict(set)
    for pair in pairs:
        own[pair.image].add(pair.caption)
    mismatched = []
    for position, index in enumerate(order):
        pair = pairs[index]
        # The next caption, in shuffled order, that is none of this image's own.
        for step in range(1, len(order)):
            other = pairs[order[(position + step) % len(order)]]
            if other.caption not in own[pair.image]:
                mismatched.append(Pair(pair.image, pair.data, other.caption, False))
                break
        else:
            raise InputRefused(
                "a cold start needs at least two different images, with captions of their own"
            )
    return [Pair(p.image, p.data, p.caption, True) for p in pairs] + mismatched


def score_pairs(
    pairs: Sequence[Pair],
    model: "ClipModel",
    settings: Settings,
    *,
    on_scored: Callable[[], None],
) -> Labels:
    """Score pairs through the worker's own stages; what is unscorable is left out."""
    from moderation.scoring.engine import open_engine

    engine = open_engine(model, settings)
    decoder = open_decoder(model.framing, settings)

    def prepare(pair: Pair) -> "Future[PairScore] | None":
        try:
            if caption_fault(pair.caption):
                return None
            return engine.score(pair.image, lambda: decoder.decode(pair.data), pair.caption)
        except Unscorable:
            return None

    kept: list[tuple[float, bool, str]] = []
    try:
        with ThreadPoolExecutor(settings.fetch_threads) as threads:
            for pair, staged in zip(pairs, threads.map(prepare, pairs), strict=True):
                cosine = _cosine(staged)
                if cosine is not None:
                    kept.append((cosine, pair.is_match, pair.image))
                on_scored()
    finally:
        engine.close()
        decoder.close()
    return Labels.of(
        np.array([cosine for cosine, _, _ in kept], dtype=np.float64),
        np.array([is_match for _, is_match, _ in kept], dtype=np.bool_),
        images=np.array([image for _, _, image in kept], dtype=np.str_),
    )


def _cosine(staged: "Future[PairScore] | None") -> float | None:
    """The cosine, or None for an image that cannot be decoded, which pairs may share."""
    try:
        return staged.result().cosine if staged else None
    except Unscorable:
        return None
