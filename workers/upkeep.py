"""The scheduler: sends again what was lost, and what has waited out a fault."""

import datetime as dt
import time
from collections.abc import Iterator
from threading import Event

import redis
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from moderation.errors import ServiceUnavailable
from moderation.queue import MAX_ITEMS, new_message_id
from moderation.store import lost, workers
from moderation.wiring import Services

log = structlog.get_logger()

_EVERY_S = 1.0
_LOOK_AT_MESSAGES = 500
_FORGET_WORKERS_AFTER_S = 24 * 3600.0
# Rows are stamped by one clock and messages by others; what is nearer counts as waiting.
_CLOCK_MARGIN = dt.timedelta(seconds=2)
# What a worker died with is sent again in smaller messages each time, so that one
# submission that kills workers takes ever fewer along.
_ITEMS_BY_LOSSES = (MAX_ITEMS, 16, 1)
_LOCK = 724083116


class Reconciler:
    """Finds messages that neither Redis nor a living worker has, and sends their rows again.

    A deep queue is no loss: what was sent after the oldest waiting message still waits.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._missed_since: dict[str, float] = {}

    def run_once(self) -> int:
        """One pass; returns how many submissions were sent again."""
        with self._services.database.connect() as connection:
            # Several schedulers may run; one works, the others stand by.
            locked = connection.execute(
                text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}
            ).scalar_one()
            connection.commit()
            if not locked:
                return 0
            try:
                # First, so that nothing is taken over while Redis does not answer.
                oldest = self._services.queue.oldest_waiting_since()
                return self._send_due(connection) + self._send_lost(connection, oldest)
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                connection.commit()

    def _send_due(self, connection: Connection) -> int:
        sent = 0
        while True:
            message_id = new_message_id()
            ids = lost.take_due(connection, new_message_id=message_id, limit=MAX_ITEMS)
            connection.commit()
            if not ids:
                return sent
            self._services.queue.send(ids, message_id=message_id)
            self._services.metrics.sent_again.labels("wait_over").inc(len(ids))
            sent += len(ids)

    def _send_lost(self, connection: Connection, oldest: dt.datetime | None) -> int:
        missing = lost.unheld(
            connection,
            sent_before=oldest - _CLOCK_MARGIN if oldest else None,
            lease_s=self._services.settings.lease_s,
            limit=_LOOK_AT_MESSAGES,
        )
        connection.rollback()
        now_s = time.monotonic()
        # A message between Redis and a worker's next beat is seen nowhere for a moment.
        self._missed_since = {
            message.message_id: self._missed_since.get(message.message_id, now_s)
            for message in missing
        }
        sent = 0
        for message in missing:
            missed_s = now_s - self._missed_since[message.message_id]
            if missed_s >= self._services.settings.lost_after_s:
                sent += self._send_again(connection, message)
        return sent

    def _send_again(self, connection: Connection, message: lost.Unfinished) -> int:
        sent = 0
        at_most = _ITEMS_BY_LOSSES[min(message.losses, len(_ITEMS_BY_LOSSES) - 1)]
        while True:
            new_id = new_message_id()
            ids = lost.take_over(
                connection, lost=message.message_id, new_message_id=new_id, limit=at_most
            )
            connection.commit()
            if not ids:
                return sent
            self._services.queue.send(ids, message_id=new_id)
            self._services.metrics.sent_again.labels("lost").inc(len(ids))
            log.warning(
                "sent_again", lost_message=message.message_id, message_id=new_id, items=len(ids)
            )
            sent += len(ids)


def run_scheduler(services: Services, stop: Event, *, metrics_url: str) -> None:
    """Run the upkeep until `stop` is set; servers that do not answer are waited out."""
    reconciler = Reconciler(services)
    due = _every(_FORGET_WORKERS_AFTER_S / 24)
    log.info("scheduler_ready", url=metrics_url)
    while not stop.wait(_EVERY_S):
        try:
            reconciler.run_once()
            if next(due):
                with services.database.begin() as connection:
                    workers.forget(connection, silent_s=_FORGET_WORKERS_AFTER_S)
        except (SQLAlchemyError, redis.RedisError, ServiceUnavailable) as error:
            log.warning("upkeep_failed", error=type(error).__name__)


def _every(period_s: float) -> Iterator[bool]:
    last_s = time.monotonic() - period_s
    while True:
        now_s = time.monotonic()
        is_due = now_s - last_s >= period_s
        if is_due:
            last_s = now_s
        yield is_due
