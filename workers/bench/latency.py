"""How long posts wait for their verdicts, one at a time and in an open loop at a given load.

Milliseconds from the moment a post should have been sent to its committed verdict, each.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.bench.photos import Photo
from workers.bench.pipeline import (
    Message,
    commit_times_s,
    forget,
    ready,
    store,
    wait_until_done,
)
from workers.bench.rig import Rig

_SHARE = 0.8
_LEAST_BATCHES = 3
# Each is a file of its own.
_MOST_POSTS = 4_000


@dataclass(frozen=True, slots=True)
class Load:
    """So many posts at so many a second; the first `left_out` find a queue not settled yet."""

    per_s: float
    posts: int
    left_out: int

    @staticmethod
    def of(capacity_per_s: float, *, seconds: float, full: int) -> "Load":
        """80 % of what a pipeline can, for about so long, where `full` posts fill its lanes."""
        per_s = _SHARE * capacity_per_s
        told = min(_MOST_POSTS, max(_LEAST_BATCHES * full, int(seconds * per_s)))
        return Load(per_s, full + told, full)


def open_loop(rig: Rig, photos: Iterable[Photo], load: Load, *, seed: int) -> list[float]:
    """Send single posts at Poisson times, whatever becomes of those before.

    A sender that falls behind does not hide it: time counts from the intended moment
    (Schroeder et al., Open Versus Closed: A Cautionary Tale, NSDI 2006).
    """
    messages = store(rig, photos, in_a_message=1)
    return _timed(rig, messages, arrivals_s(load, seed=seed))[load.left_out :]


def arrivals_s(load: Load, *, seed: int) -> NDArray[np.float64]:
    """When each post comes, seconds from the start."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / load.per_s, load.posts))


def idle(rig: Rig, photos: Iterable[Photo], *, gap_s: float) -> list[float]:
    """Send single posts so far apart that each finds everything idle."""
    messages = store(rig, photos, in_a_message=1)
    return _timed(rig, messages, gap_s * np.arange(len(messages), dtype=np.float64))


def _timed(rig: Rig, messages: Sequence[Message], after_s: NDArray[np.float64]) -> list[float]:
    with ready(rig, messages) as send_next:
        intended_s = time.time() + after_s
        for at_s in intended_s:
            time.sleep(max(0.0, at_s - time.time()))
            send_next()
    wait_until_done(rig, len(messages))
    waits_s = commit_times_s(rig, messages) - intended_s
    forget(rig, messages)
    return [1000 * wait_s for wait_s in waits_s.tolist()]
