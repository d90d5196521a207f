"""Which numbers the towers compute with: bf16 where it is much faster and close enough."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from moderation.scoring.attention import with_lean_attention
from moderation.scoring.clones import clone
from moderation.scoring.model import ClipModel
from moderation.scoring.packed import can_pack, pack
from moderation.scoring.probes import probe_images, probe_pixels, probe_tokens
from moderation.scoring.proof import Replaying, try_replaying
from moderation.scoring.towers import Towers, Vectors

Wanted = Literal["auto", "fp32", "bf16"]

# A cosine may move so far; a calibration with a slope of 30 then moves a score by 0.04 at most.
MAX_DRIFT = 0.005
# Much faster, or timing noise would let two starts choose differently and score differently.
_MUCH_FASTER = 2.0
# On a GPU a small batch takes as long in any precision.
_PROBE_PAIRS = {"cpu": 16, "cuda": 256}
_DRIFT_PAIRS = 8
_LONG_RUN_S = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The towers to compute with, and what was measured; times of one batch of probes.

    `replaying` says whether their passes are replayed; None on a CPU, where none is.
    """

    towers: Towers
    precision: Literal["fp32", "bf16"]
    fp32_s: float | None = None
    bf16_s: float | None = None
    max_drift: float | None = None
    replaying: Replaying | None = None


def choose_precision(model: ClipModel, wanted: Wanted) -> Choice:
    """Take what is wanted or, with auto, bf16 where a short measurement speaks for it.

    On a GPU passes are replayed, where that is found to be right and to cost less.
    """
    choice = _choose(model, wanted)
    if model.device.type != "cuda":
        return choice
    towers, replaying = try_replaying(choice.towers, choice.precision)
    return replace(choice, towers=towers, replaying=replaying)


@torch.inference_mode()
def _choose(model: ClipModel, wanted: Wanted) -> Choice:
    lean = with_lean_attention(model)
    # Tried in fp32: in bf16 the rounding alone differs by more than the test allows.
    exact = Towers(lean)
    if wanted == "fp32":
        return Choice(exact, "fp32")
    if wanted == "bf16":
        return Choice(Towers(_halved(lean), can_cut=exact.can_cut), "bf16")
    with _one_thread():
        try:
            halved = Towers(_halved(lean), can_cut=exact.can_cut)
            stock = _stock_cosines(model)
            _, fp32_s = _measure(exact)
            cosines, bf16_s = _measure(halved)
        except RuntimeError:
            # Some operation of this model or device does not know bf16.
            return Choice(exact, "fp32")
    drift = float(np.abs(cosines - stock).max())
    is_better = drift <= MAX_DRIFT and fp32_s > _MUCH_FASTER * bf16_s
    return Choice(
        halved if is_better else exact, "bf16" if is_better else "fp32", fp32_s, bf16_s, drift
    )


def _halved(model: ClipModel) -> ClipModel:
    """The model in bf16, its weights packed where this CPU can read them so."""
    halved = replace(model, clip=copy.deepcopy(model.clip).to(torch.bfloat16))
    if model.device.type == "cuda":
        # Pixels come colour by colour; otherwise each pass would turn the patches' weights round.
        halved.clip.to(memory_format=torch.channels_last)
    if not can_pack(halved.clip):
        return halved
    packed = replace(halved, clip=clone(halved.clip))
    pack(packed.clip)
    try:
        packed.clip.encode_image(probe_images(packed, 1).bfloat16())
        packed.clip.encode_text(probe_tokens(packed, 1))
    # A model that reads its layers' weights itself.
    except (RuntimeError, AttributeError, TypeError):
        return halved
    return packed


def _stock_cosines(model: ClipModel) -> Vectors:
    """Cosines of some probes with some, (n, n), as open_clip alone computes them in fp32."""
    images = model.clip.encode_image(probe_images(model, _DRIFT_PAIRS), normalize=True)
    texts = model.clip.encode_text(probe_tokens(model, _DRIFT_PAIRS), normalize=True)
    cosines: Vectors = (images @ texts.T).cpu().numpy()
    return cosines


def _measure(towers: Towers) -> tuple[Vectors, float]:
    """The same cosines, and the shorter of two runs of one batch in seconds."""
    count = _PROBE_PAIRS[towers.model.device.type]
    pixels = probe_pixels(towers.model, count)
    tokens = list(probe_tokens(towers.model, count).cpu())
    took_s: list[float] = []
    # A second run tells warming up from speed; a long one needs no second.
    while not took_s or (len(took_s) == 1 and took_s[0] < _LONG_RUN_S):
        started_s = time.perf_counter()
        images, texts = towers.encode_images(pixels), towers.encode_captions(tokens)
        took_s.append(time.perf_counter() - started_s)
    return images[:_DRIFT_PAIRS] @ texts[:_DRIFT_PAIRS].T, min(took_s)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As lanes compute, and less disturbed by whatever else this machine does at the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
