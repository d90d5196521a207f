"""Which numbers the towers compute with: bf16 where it is faster and close enough."""

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
from moderation.types import Pixels

Wanted = Literal["auto", "fp32", "bf16"]

# A cosine may move so far; a calibration with a slope of 30 then moves a score by 0.04 at most.
MAX_DRIFT = 0.005
# Less gain is not worth scores that move; from start to start it varies by about a tenth.
_FASTER = 1.2
# On a GPU a small batch takes as long in any precision.
_PROBE_PAIRS = {"cpu": 16, "cuda": 256}
# The first round on a GPU also loads kernels.
_LEAST_ROUNDS = {"cpu": 1, "cuda": 2}
_MOST_ROUNDS = 5
_ENOUGH_S = 0.5
_DRIFT_PAIRS = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """The towers to compute with, and what was measured.

    `fp32_s` and `bf16_s` are seconds for one batch of probes: CPU time of one thread on a CPU,
    elapsed time on a GPU. `replaying` says whether their passes are replayed; None on a CPU, where
    none is.
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
            cosines, fp32_s, bf16_s = _compare(exact, halved)
        except RuntimeError:
            # Some operation of this model or device does not know bf16.
            return Choice(exact, "fp32")
    drift = float(np.abs(cosines - stock).max())
    is_better = drift <= MAX_DRIFT and fp32_s > _FASTER * bf16_s
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


def _compare(exact: Towers, halved: Towers) -> tuple[Vectors, float, float]:
    """Cosines in bf16, (n, n), and the seconds of each one's shortest run of a batch.

    They take turns, so that a machine with other work hurts both.
    """
    device = exact.model.device.type
    pixels = probe_pixels(exact.model, _PROBE_PAIRS[device])
    tokens = list(probe_tokens(exact.model, _PROBE_PAIRS[device]).cpu())
    exact_s: list[float] = []
    halved_s: list[float] = []
    for done in range(1, _MOST_ROUNDS + 1):
        exact_s.append(_measure(exact, pixels, tokens)[1])
        cosines, took_s = _measure(halved, pixels, tokens)
        halved_s.append(took_s)
        if done >= _LEAST_ROUNDS[device] and sum(exact_s + halved_s) >= _ENOUGH_S:
            break
    return cosines, min(exact_s), min(halved_s)


def _measure(
    towers: Towers, pixels: list[Pixels], tokens: list[torch.Tensor]
) -> tuple[Vectors, float]:
    """Cosines of the first probes with each other, (n, n), and the seconds that all took."""
    # CPU time leaves out what other processes took of this core meanwhile.
    clock = time.thread_time if towers.model.device.type == "cpu" else time.perf_counter
    started_s = clock()
    images, texts = towers.encode_images(pixels), towers.encode_captions(tokens)
    took_s = clock() - started_s
    return images[:_DRIFT_PAIRS] @ texts[:_DRIFT_PAIRS].T, took_s


@contextmanager
def _one_thread() -> Iterator[None]:
    """As lanes compute; and one thread's time is then all of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
