"""Whether the queue has room for more, else 429."""

import time
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from moderation.api import threads
from moderation.store import submissions
from moderation.wiring import Services

RETRY_AFTER_S = 5
# Counting a deep backlog takes milliseconds, too many for each request of a busy API.
_COUNT_AGAIN_S = 1.0


class Room:
    """Counts the submissions without a verdict, at most once a second."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limit = services.settings.queue_limit_items
        self._pending = 0
        self._counted_s = float("-inf")

    async def check(self) -> None:
        """Raise 429 with Retry-After when the queue is at its limit."""
        if time.monotonic() - self._counted_s > _COUNT_AGAIN_S:
            self._pending = await threads.run(self._count)
            self._counted_s = time.monotonic()
        if self._pending >= self._limit:
            raise HTTPException(
                429,
                f"{self._limit} submissions wait for their verdicts already; try again later",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )

    def take(self, items: int) -> None:
        """Note what was accepted since the last count."""
        self._pending += items

    def _count(self) -> int:
        with self._services.database.connect() as connection:
            return submissions.count_pending(connection, at_most=self._limit)


async def _room_of(request: Request) -> Room:
    room: Room = request.app.state.room
    return room


RoomDep = Annotated[Room, Depends(_room_of)]
