"""How long posts wait for their verdicts, one at a time and in an open loop at a given load.

Milliseconds from the moment a post should have been sent to its committed verdict, each.
"""

import time
from collections.abc import Iterable, Sequence

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


def open_loop(
    rig: Rig, photos: Iterable[Photo], *, per_s: float, left_out: int, seed: int
) -> list[float]:
    """Send single posts at Poisson times, whatever becomes of those before.

    A sender that falls behind does not hide it: time counts from the intended moment
    (Schroeder et al., Open Versus Closed: A Cautionary Tale, NSDI 2006). The first `left_out`
    posts find a queue that has not settled, and are not told.
    """
    messages = store(rig, photos, in_a_message=1)
    gaps_s = np.random.default_rng(seed).exponential(1 / per_s, len(messages))
    return _timed(rig, messages, np.cumsum(gaps_s))[left_out:]


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
