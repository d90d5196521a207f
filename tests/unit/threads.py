"""Threads that all start at once, and whether one waits."""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

PATIENCE_S = 60


def all_at_once(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """What the actions return or raise, each run on its own thread from one moment on."""
    start = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(number: int) -> None:
        start.wait(PATIENCE_S)
        try:
            results[number] = actions[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(actions))]
    interval_s = sys.getswitchinterval()
    # So that threads meet in the middle of a step.
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a thread hangs"
    finally:
        sys.setswitchinterval(interval_s)
    return results


def is_waiting_for_room(thread: threading.Thread) -> bool:
    """Whether a thread waits in `Stage.submit`, as its stack shows."""
    frame = sys._current_frames().get(thread.ident or 0)
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return "submit" in names and "wait" in names
