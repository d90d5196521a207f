"""Posts of the generated world: pairs of scene and caption, drawn and encoded as a platform would.

`stream` feeds the demo, `write_labels` writes pictures and labels for calibration and tests.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Literal

from moderation.demo.captions import Swap, describe, swap
from moderation.demo.world import Scene, render, sample_scene, seeded

POST_SIDE_PX = 256  # large enough for a person to judge; models scale it down
_JPEG_QUALITY = 92

Label = Literal["match", "mismatch"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A scene and a caption; `swap` says in which way the caption is wrong, if it is."""

    scene: Scene
    caption: str
    swap: Swap | None

    @property
    def label(self) -> Label:
        """The truth about the pair."""
        return "match" if self.swap is None else "mismatch"


@dataclass(frozen=True, slots=True)
class Post:
    """A pair as a platform hands it in: `image` is JPEG; `kind` is the swap, or "match"."""

    image_name: str
    image: bytes
    caption: str
    label: Label
    kind: str


def sample_pair(rng: Random, how: Swap | None, *, held_out: bool) -> Pair:
    """Draw a scene and describe it, rightly if `how` is None."""
    scene = sample_scene(rng, held_out=held_out)
    if how is None:
        return Pair(scene, describe(scene, rng), None)
    return Pair(scene, swap(scene, how, rng, held_out=held_out), how)


def encode(scene: Scene, side_px: int = POST_SIDE_PX) -> bytes:
    """Draw the scene as JPEG bytes."""
    file = BytesIO()
    render(scene, side_px).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def stream(
    seed: int,
    n: int,
    mismatch_share: float = 0.5,
    *,
    swaps: Sequence[Swap] = (Swap.RANDOM,),
    held_out: bool = True,
) -> Iterator[Post]:
    """Yield `n` posts in random order, of which the rounded share has a wrong caption.

    With `held_out` every scene shows something that the model was not trained on.
    """
    rng = seeded("posts", seed)
    wrong = round(n * mismatch_share)
    plan: list[Swap | None] = [swaps[k % len(swaps)] for k in range(wrong)]
    plan += [None] * (n - wrong)
    rng.shuffle(plan)
    for number, how in enumerate(plan):
        pair = sample_pair(rng, how, held_out=held_out)
        yield Post(
            image_name=f"scene-{number:04d}.jpg",
            image=encode(pair.scene),
            caption=pair.caption,
            label=pair.label,
            kind=pair.swap or "match",
        )


def write_posts(posts: Iterator[Post], file: Path, folder: Path) -> int:
    """Write images into `folder` and a line of JSON for each post into `file`; return how many.

    Image paths are relative to the file, as `captionguard submit` reads them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        for post in posts:
            path = folder / post.image_name
            path.write_bytes(post.image)
            line = {
                "image": os.path.relpath(path, file.parent),
                "external_id": path.stem,
                "caption": post.caption,
                "label": post.label,
                "kind": post.kind,
            }
            lines.write(json.dumps(line) + "\n")
            count += 1
    return count


def write_labels(
    folder: Path,
    n: int,
    seed: int,
    mismatch_share: float = 0.5,
    *,
    swaps: Sequence[Swap] = (Swap.RANDOM,),
    held_out: bool = False,
) -> Path:
    """Write `n` labelled pairs into `folder` and return the path of its `labels.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "labels.jsonl"
    write_posts(stream(seed, n, mismatch_share, swaps=swaps, held_out=held_out), file, folder)
    return file
