"""Training batches: scenes beside twins of themselves that differ in one thing.

In a contrastive batch every other caption is a negative. A scene and its three twins (another
kind, another colour, another count) make each other's hardest ones, drawn as well as described,
so that neither tower can leave the telling apart to the other.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from moderation.demo import MODEL_CONFIG, MODEL_NAME
from moderation.demo.captions import change_colour, change_count, change_object, describe
from moderation.demo.world import Scene, render, sample_scene, seeded

PAIRS_PER_SCENE = 4
# Drawn larger and scaled down with the filter of the model's preprocessing, as posts will be.
_DRAWN_SIDE_PX = 128


class Batch(NamedTuple):
    """Pairs that match: images uint8 (n, 3, side, side), tokens int64 (n, context)."""

    images: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the model's configuration says about its inputs."""

    side_px: int
    context: int


def family(rng: Random) -> list[Scene]:
    """Return a scene and its twins with another kind, colour and count; none held out."""
    scene = sample_scene(rng, held_out=False)
    changes = (change_object, change_colour, change_count)
    return [scene, *(change(scene, rng, held_out=False) for change in changes)]


def pixels(scene: Scene, side_px: int) -> NDArray[np.uint8]:
    """Return what the model sees of a scene: (3, side, side)."""
    picture = render(scene, _DRAWN_SIDE_PX).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1)


@lru_cache(maxsize=1)
def _tokenizer() -> open_clip.SimpleTokenizer:
    open_clip.add_model_config(MODEL_CONFIG)
    return open_clip.get_tokenizer(MODEL_NAME)


@lru_cache(maxsize=4096)
def _word_tokens(word: str) -> tuple[int, ...]:
    return tuple(_tokenizer().encode(word))


def tokenize(captions: list[str], context: int) -> torch.Tensor:
    """Return the stock tokenizer's (n, context) tokens; by word, since words repeat a lot."""
    tokens = torch.zeros(len(captions), context, dtype=torch.long)
    for row, caption in enumerate(captions):
        inner = [token for word in caption.split() for token in _word_tokens(word)]
        ends = _tokenizer().sot_token_id, _tokenizer().eot_token_id
        line = [ends[0], *inner[: context - 2], ends[1]]
        tokens[row, : len(line)] = torch.tensor(line)
    return tokens


class Batches(Dataset[Batch]):
    """Batch `k` follows from seed and `k` alone, so that a resumed run sees what it would have."""

    def __init__(self, seed: int, pairs: int, sizes: Sizes) -> None:
        self._seed = seed
        self._scenes = pairs // PAIRS_PER_SCENE
        self._sizes = sizes

    def __getitem__(self, step: int) -> Batch:
        """Draw and describe the scenes of one step."""
        rng = seeded("train", self._seed, step)
        scenes = [scene for _ in range(self._scenes) for scene in family(rng)]
        images = np.stack([pixels(scene, self._sizes.side_px) for scene in scenes])
        captions = [describe(scene, rng) for scene in scenes]
        return Batch(torch.from_numpy(images), tokenize(captions, self._sizes.context))
