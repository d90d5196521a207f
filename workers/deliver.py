"""The scheduler's deliverer: takes what is due from the outbox and sends it.

One thread talks to the database; each try runs on a thread of its own, so that endpoints wait
for nobody. Several schedulers share the work, and what one was killed with is due again.
"""

import time
from collections import Counter
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Event, Thread
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from moderation.metrics import WebhookMetrics
from moderation.settings import Settings
from moderation.store import audit, deliveries, endpoints
from moderation.store.audit import Actor
from moderation.store.deliveries import Taken, Tried
from moderation.webhooks import GONE, Answer, Message, Sender, wait_after

log = structlog.get_logger()

_TRIES_AT_ONCE = 128
_TRIES_AT_ONCE_EACH = 16
_LOOK_EVERY_S = 0.5
_COUNT_EVERY_S = 15.0
# A try ends within the time limit; so much later its scheduler is dead, or knows no database.
_LEASE_MARGIN_S = 5.0
_WAIT_AFTER_TROUBLE_S = 1.0
_ENDS_WITHIN_S = 3.0
_ACTOR = Actor("scheduler")


class Deliverer:
    """Delivers until it is stopped. An endpoint that fails gets one try at a time."""

    def __init__(self, database: Engine, settings: Settings, metrics: WebhookMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._sender = Sender(
            timeout_s=settings.webhook_timeout_s, allow_private=settings.webhook_allow_private
        )
        self._lease = timedelta(seconds=settings.webhook_timeout_s + _LEASE_MARGIN_S)
        self._answers: SimpleQueue[tuple[Taken, Answer]] = SimpleQueue()
        self._unsettled: list[tuple[Taken, Answer]] = []
        self._under_way: Counter[UUID] = Counter()
        self._failing: set[UUID] = set()
        self._not_before_s: dict[UUID, float] = {}
        self._counted_s: float | None = None

    def run(self, stop: Event) -> None:
        """Deliver until `stop` is set; then give what is under way a moment to end."""
        while not stop.is_set():
            try:
                self._settle()
                self._count()
                self._begin()
            except SQLAlchemyError as error:
                self._metrics.forget()
                self._counted_s = None
                log.warning("webhooks_failed", error=type(error).__name__)
                stop.wait(_WAIT_AFTER_TROUBLE_S)
            except Exception:
                log.exception("webhooks_broken")
                stop.wait(_WAIT_AFTER_TROUBLE_S)
            self._await_answers(_LOOK_EVERY_S)
        self._end()

    def _end(self) -> None:
        """What is not settled here is due again when its lease is over."""
        deadline_s = time.monotonic() + _ENDS_WITHIN_S
        while self._under_way.total() and (left_s := deadline_s - time.monotonic()) > 0:
            self._await_answers(left_s)
        try:
            self._settle()
        except SQLAlchemyError as error:
            log.warning("webhooks_failed", error=type(error).__name__)
        self._sender.close()

    def _begin(self) -> None:
        room = _TRIES_AT_ONCE - self._under_way.total()
        if room == 0:
            return
        with self._database.begin() as connection:
            taken = deliveries.take(
                connection,
                most=room,
                each=_TRIES_AT_ONCE_EACH,
                rooms=self._rooms(),
                lease=self._lease,
            )
        for delivery in taken:
            self._under_way[delivery.endpoint_id] += 1
            Thread(target=self._try, args=(delivery,), name="webhook", daemon=True).start()

    def _rooms(self) -> dict[UUID, int]:
        """How many more tries may begin, for endpoints that may not have all."""
        now_s = time.monotonic()
        self._not_before_s = {e: at_s for e, at_s in self._not_before_s.items() if at_s > now_s}
        rooms = {}
        for endpoint in {*self._under_way, *self._failing, *self._not_before_s}:
            most = 1 if endpoint in self._failing else _TRIES_AT_ONCE_EACH
            has_to_wait = endpoint in self._not_before_s
            rooms[endpoint] = 0 if has_to_wait else max(0, most - self._under_way[endpoint])
        return rooms

    def _try(self, delivery: Taken) -> None:
        try:
            answer = self._sender.send(
                Message(delivery.event_id, delivery.body, delivery.url, delivery.secrets)
            )
        except Exception as error:
            # Whatever it is, it is one delivery's trouble.
            log.exception("webhook_broken", delivery=str(delivery.id))
            answer = Answer(None, f"could not be sent ({type(error).__name__})", 0.0)
        self._answers.put((delivery, answer))

    def _await_answers(self, timeout_s: float) -> None:
        try:
            self._note(*self._answers.get(timeout=timeout_s))
            while True:
                self._note(*self._answers.get_nowait())
        except Empty:
            return

    def _note(self, delivery: Taken, answer: Answer) -> None:
        endpoint = delivery.endpoint_id
        self._under_way[endpoint] -= 1
        if not self._under_way[endpoint]:
            del self._under_way[endpoint]
        if answer.problem is None:
            self._failing.discard(endpoint)
        else:
            self._failing.add(endpoint)
        if answer.retry_after_s is not None:
            self._not_before_s[endpoint] = time.monotonic() + answer.retry_after_s
        self._unsettled.append((delivery, answer))

    def _settle(self) -> None:
        """Store what became of tries; what cannot be stored now is stored with the next."""
        if not self._unsettled:
            return
        pairs = self._unsettled
        tries = [_tried(delivery, answer) for delivery, answer in pairs]
        gone = {d.endpoint_id for d, answer in pairs if answer.status == GONE}
        with self._database.begin() as connection:
            deliveries.settle(connection, tries)
            for endpoint in sorted(gone):
                if endpoints.disable(connection, endpoint, f"answered {GONE}"):
                    audit.record(
                        connection, _ACTOR, "webhook.disabled", f"webhook:{endpoint}", status=GONE
                    )
        self._unsettled = []
        for (delivery, answer), tried in zip(pairs, tries, strict=True):
            self._tell(delivery, answer, tried)

    def _tell(self, delivery: Taken, answer: Answer, tried: Tried) -> None:
        self._metrics.tries.labels("delivered" if tried.is_delivered else "failed").inc()
        self._metrics.try_duration.observe(answer.took_s)
        if tried.is_delivered:
            return
        told = {
            "delivery": str(delivery.id),
            "endpoint": str(delivery.endpoint_id),
            "attempt": delivery.attempt,
            "status": answer.status,
            "problem": answer.problem,
        }
        if tried.wait is None:
            self._metrics.given_up.inc()
            log.warning("webhook_given_up", **told)
        else:
            log.warning("webhook_put_off", **told, wait_s=round(tried.wait.total_seconds(), 1))

    def _count(self) -> None:
        now_s = time.monotonic()
        if self._counted_s is not None and now_s - self._counted_s < _COUNT_EVERY_S:
            return
        with self._database.begin() as connection:
            ended = deliveries.end_disabled(connection)
            waiting = deliveries.waiting(connection)
        if ended:
            self._metrics.given_up.inc(ended)
            log.warning("webhooks_ended", deliveries=ended)
        self._metrics.pending.set(waiting.pending)
        self._metrics.oldest_age.set(waiting.oldest_s)
        self._metrics.overdue.set(waiting.overdue_s)
        self._counted_s = now_s


def _tried(delivery: Taken, answer: Answer) -> Tried:
    wait = None if answer.problem is None else wait_after(delivery.attempt, answer)
    return Tried(delivery.id, delivery.attempt, answer.status, answer.problem, wait)
