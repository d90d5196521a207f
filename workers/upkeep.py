"""The scheduler: sends again what was lost, and what has waited out a fault; starts the rest."""

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from threading import Event, Thread
from typing import Generic, TypeVar

import redis
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from moderation.errors import ServiceUnavailable
from moderation.metrics import DriftMetrics, WebhookMetrics
from moderation.queue import MAX_ITEMS, Taken, new_message_id
from moderation.review.opening import opening
from moderation.store import lost, secrets, workers
from moderation.store.locks import Lock
from moderation.store.missed import open_missed
from moderation.wiring import Services
from workers.deliver import Deliverer
from workers.measure import Measuring
from workers.watch import Watch

log = structlog.get_logger()

T = TypeVar("T")

_EVERY_S = 1.0
_LOOK_AT_MESSAGES = 20_000
_LOOKS_END_WITHIN_S = 2.0
_WEBHOOKS_END_WITHIN_S = 5.0
_FORGET_WORKERS_AFTER_S = 24 * 3600.0
# Messages are stamped by the clocks of their senders; what is nearer counts as waiting.
_CLOCK_MARGIN = dt.timedelta(seconds=5)
# What a worker died with is sent again in smaller messages each time, so that one
# submission that kills workers takes ever fewer along.
_ITEMS_BY_LOSSES = (16, 1)
_UPGRADES_TAKE = dt.timedelta(days=1)


class Reconciler:
    """Finds messages that neither Redis nor a living worker has, and sends their rows again.

    A deep queue is no loss: what was sent after the oldest waiting message still waits.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        # A message between Redis and a worker's next beat is seen nowhere for a moment.
        patience_s = services.settings.lost_after_s
        self._missed_too_long: _Patience[lost.Unfinished] = _Patience(patience_s)
        self._taken_too_long: _Patience[Taken] = _Patience(patience_s)

    def run_once(self) -> int:
        """One pass; returns how many submissions were sent again."""
        with self._services.database.connect() as connection:
            # Several schedulers may run; one works, the others stand by.
            locked = connection.execute(
                text("SELECT pg_try_advisory_lock(:lock)"), {"lock": Lock.RECONCILER.value}
            ).scalar_one()
            connection.commit()
            if not locked:
                return 0
            try:
                # Redis first, so that nothing is taken over while it does not answer.
                self._put_back(connection)
                oldest = self._services.queue.oldest_waiting_since()
                return self._send_due(connection) + self._send_lost(connection, oldest)
            finally:
                connection.rollback()
                connection.execute(
                    text("SELECT pg_advisory_unlock(:lock)"), {"lock": Lock.RECONCILER.value}
                )
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

    def _put_back(self, connection: Connection) -> None:
        """Messages that dead workers took: Redis itself gives them back only after an hour."""
        held = workers.held(connection, lease_s=self._services.settings.lease_s)
        connection.rollback()
        taken = [m for m in self._services.queue.taken() if m.message_id not in held]
        for message in self._taken_too_long.seen([m.tag for m in taken], taken):
            if message.is_packed:
                # Its rows are sent again below, in messages that a bad one cannot spoil.
                self._services.queue.drop(message)
            else:
                self._services.queue.put_back(message)
                self._services.metrics.sent_again.labels("lost").inc()
                log.warning("put_back", message_id=message.message_id)

    def _send_lost(self, connection: Connection, oldest: dt.datetime | None) -> int:
        missing = lost.unheld(
            connection,
            sent_before=oldest - _CLOCK_MARGIN if oldest else None,
            lease_s=self._services.settings.lease_s,
            limit=_LOOK_AT_MESSAGES,
        )
        connection.rollback()
        found = self._missed_too_long.seen([m.message_id for m in missing], missing)
        # What no worker has died with is packed anew: a queue of single posts comes back fast.
        sent = self._send_again(connection, [m for m in found if m.losses == 0], MAX_ITEMS)
        for message in found:
            if message.losses > 0:
                at_most = _ITEMS_BY_LOSSES[min(message.losses, len(_ITEMS_BY_LOSSES)) - 1]
                sent += self._send_again(connection, [message], at_most)
        return sent

    def _send_again(
        self, connection: Connection, messages: Sequence[lost.Unfinished], at_most: int
    ) -> int:
        sent = 0
        while messages:
            new_id = new_message_id()
            ids = lost.take_over(
                connection,
                lost=[message.message_id for message in messages],
                new_message_id=new_id,
                limit=at_most,
            )
            connection.commit()
            if not ids:
                break
            self._services.queue.send(ids, message_id=new_id)
            self._services.metrics.sent_again.labels("lost").inc(len(ids))
            log.warning("sent_again", message_id=new_id, items=len(ids))
            sent += len(ids)
        return sent


class _Patience(Generic[T]):
    """Tells what has been seen in every look for a while."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._first_seen_s: dict[str, float] = {}

    def seen(self, names: Sequence[str], things: Sequence[T]) -> list[T]:
        """Those of the things seen now that were there for long enough."""
        now_s = time.monotonic()
        self._first_seen_s = {name: self._first_seen_s.get(name, now_s) for name in names}
        return [
            thing
            for name, thing in zip(names, things, strict=True)
            if now_s - self._first_seen_s[name] >= self._patience_s
        ]


def run_scheduler(services: Services, stop: Event, *, metrics_url: str) -> None:
    """Run the upkeep until `stop` is set; servers that do not answer are waited out."""
    reconciler = Reconciler(services)
    due = _every(_FORGET_WORKERS_AFTER_S / 24)
    # On threads and connections of their own: whatever becomes of them, the upkeep goes on.
    watch = Watch(services.database, services.settings, DriftMetrics(services.metrics.registry))
    watching = Thread(target=watch.run, args=(stop,), name="captionguard-watch", daemon=True)
    watching.start()
    measuring = Measuring(services.database, services.settings, services.metrics.registry)
    measures = Thread(
        target=measuring.run, args=(stop,), name="captionguard-measuring", daemon=True
    )
    measures.start()
    deliverer = Deliverer(
        services.database, services.settings, WebhookMetrics(services.metrics.registry)
    )
    delivering = Thread(
        target=deliverer.run, args=(stop,), name="captionguard-webhooks", daemon=True
    )
    delivering.start()
    log.info("scheduler_ready", url=metrics_url)
    while not stop.wait(_EVERY_S):
        try:
            reconciler.run_once()
            if next(due):
                with services.database.begin() as connection:
                    workers.forget(connection, silent_s=_FORGET_WORKERS_AFTER_S)
                open_missed_cases(services)
        except (SQLAlchemyError, redis.RedisError, ServiceUnavailable) as error:
            log.warning("upkeep_failed", error=type(error).__name__)
        except Exception:
            # Whatever it is, one bad message must not end the upkeep of all others.
            log.exception("upkeep_broken")
    for looking in (watching, measures):
        looking.join(_LOOKS_END_WITHIN_S)
    delivering.join(_WEBHOOKS_END_WITHIN_S)


def open_missed_cases(services: Services) -> int:
    """Open cases of what workers from before the desk flag during an upgrade; how many."""
    with services.database.begin() as connection:
        open_case = opening(
            secrets.draws(connection), twice_share=services.settings.review_twice_share
        )
        opened = open_missed(connection, open_case, within=_UPGRADES_TAKE)
    if opened:
        log.warning("missed_cases_opened", cases=opened)
    return opened


def _every(period_s: float) -> Iterator[bool]:
    last_s = time.monotonic() - period_s
    while True:
        now_s = time.monotonic()
        is_due = now_s - last_s >= period_s
        if is_due:
            last_s = now_s
        yield is_due
