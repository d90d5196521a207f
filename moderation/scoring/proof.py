"""Whether passes may be replayed on this device: tried on probes when the model is loaded."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from moderation.scoring.probes import probe_pixels, probe_tokens
from moderation.scoring.replay import CudaGraphs, Record
from moderation.scoring.towers import Towers, Vectors
from moderation.types import Pixels

# How far a vector's cosine with itself, computed otherwise, may be from 1: rounding alone.
_SAME = {"fp32": 1e-5, "bf16": 1e-3}
# Sizes that are filled up and one that is not; turned round, what a replay before left shows.
_COUNTS = (1, 5, 16, 37)
_TIMED_PAIRS = 64
_RUNS = 5
# On a device that is full either way, the clock tells noise; what is spared then is Python.
_NO_SLOWER = 1.05


@dataclass(frozen=True, slots=True)
class Replaying:
    """Whether passes are replayed, why not, and what was measured on one batch of probes."""

    is_used: bool
    why_not: str | None = None
    computed_s: float | None = None
    replayed_s: float | None = None
    computed_cpu_s: float | None = None
    replayed_cpu_s: float | None = None
    difference: float | None = None

    def to_document(self) -> dict[str, Any]:
        """What a log line shows."""
        return asdict(self)


def try_replaying(
    towers: Towers,
    precision: Literal["fp32", "bf16"],
    record: Callable[[], Record] = CudaGraphs,
) -> tuple[Towers, Replaying]:
    """Towers that replay if that is right and costs less, else those given, and why.

    The difference is the largest of 1 - cosine between a probe's vectors. Raises nothing that
    recording or replaying raises.
    """
    try:
        replaying = towers.replaying(record)
        difference = _difference(towers, replaying)
        if replaying.faults:
            return towers, Replaying(False, replaying.faults[0])
        # Also false where it is no number.
        if not difference <= _SAME[precision]:
            return towers, Replaying(False, "vectors differ", difference=difference)
        computed_s, computed_cpu_s = measure(towers)
        replayed_s, replayed_cpu_s = measure(replaying)
    # It is faster where it works, and needed nowhere.
    except Exception as error:
        return towers, Replaying(False, f"{type(error).__name__}: {error}")
    why_not = None
    if replaying.faults:
        why_not = replaying.faults[0]
    elif replayed_s > _NO_SLOWER * computed_s:
        why_not = "it is slower"
    elif replayed_cpu_s >= computed_cpu_s:
        why_not = "it spares no CPU time"
    return towers if why_not else replaying, Replaying(
        why_not is None,
        why_not,
        computed_s,
        replayed_s,
        computed_cpu_s,
        replayed_cpu_s,
        difference,
    )


def measure(towers: Towers) -> tuple[float, float]:
    """Seconds and CPU seconds of this thread for one batch of probes: each the least of some."""
    pixels, tokens = _probes(towers, _TIMED_PAIRS)
    runs = []
    # One more, which warms up.
    for _ in range(_RUNS + 1):
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        towers.encode_images(pixels)
        towers.encode_captions(tokens)
        runs.append((time.perf_counter() - started_s, time.thread_time() - started_cpu_s))
    return min(s for s, _ in runs[1:]), min(cpu_s for _, cpu_s in runs[1:])


def _difference(computing: Towers, replaying: Towers) -> float:
    found = [0.0]
    for count in _COUNTS:
        pixels, tokens = _probes(computing, count)
        images, captions = computing.encode_images(pixels), computing.encode_captions(tokens)
        for step in (1, -1):
            found.append(_apart(images[::step], replaying.encode_images(pixels[::step])))
            found.append(_apart(captions[::step], replaying.encode_captions(tokens[::step])))
    return float(np.max(found))


def _apart(some: Vectors, others: Vectors) -> float:
    return float((1 - (some * others).sum(axis=1)).max())


def _probes(towers: Towers, count: int) -> tuple[Sequence[Pixels], Sequence[torch.Tensor]]:
    return probe_pixels(towers.model, count), list(probe_tokens(towers.model, count).cpu())
