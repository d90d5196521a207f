"""Threads of an API process: platforms have some of their own, however slow people's requests are.

Each thread has one connection of the pool at most, so both together need no more than there are.
"""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

_PLATFORMS = 12
# With the two that look at passwords and the platforms', as many as the pool has connections.
_PEOPLE = 10

_P = ParamSpec("_P")
_T = TypeVar("_T")
_platforms: RunVar[CapacityLimiter] = RunVar("platforms")


def share_threads() -> None:
    """Begin, in the event loop that serves: what runs elsewhere than by `run` is people's."""
    to_thread.current_default_thread_limiter().total_tokens = _PEOPLE
    _platforms.set(CapacityLimiter(_PLATFORMS))


async def run(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do what a platform waits for in a thread that no reviewer's request keeps."""
    return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=_platforms.get())
