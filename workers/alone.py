"""What one of all schedulers does: whoever holds a lock does it, again and again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from moderation.store.locks import Lock

log = structlog.get_logger()

# What takes long is done less often: at most a tenth of the time goes into it.
_REST_PER_ROUND = 9


@dataclass(frozen=True, slots=True)
class Alone:
    """A round every so often, on a connection in autocommit that holds a lock.

    Nothing here may reach the scheduler's own work: whatever fails is logged by the name, and
    tried again.
    """

    database: Engine
    lock: Lock
    name: str
    every_s: float
    longest_query_s: int

    def run(
        self, stop: Event, *, each: Callable[[Connection], None], forget: Callable[[], None]
    ) -> None:
        """Do `each` round until `stop` is set; `forget` when it fails, or another does it."""
        while not stop.is_set():
            try:
                with self.database.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    # It is closed for good in the end, and the lock goes with it.
                    connection.detach()
                    self._hold(connection, stop, each)
            except SQLAlchemyError as error:
                log.warning("task_failed", task=self.name, error=type(error).__name__)
            except Exception:
                log.exception("task_broken", task=self.name)
            forget()
            stop.wait(self.every_s)

    def _hold(
        self, connection: Connection, stop: Event, each: Callable[[Connection], None]
    ) -> None:
        """Go on until `stop` is set; returns at once where another scheduler has the lock."""
        connection.exec_driver_sql(f"SET statement_timeout = '{self.longest_query_s}s'")
        lock = text("SELECT pg_try_advisory_lock(:lock)")
        if not connection.execute(lock, {"lock": self.lock.value}).scalar_one():
            return
        # The first round also loads libraries, which says nothing of the next.
        each(connection)
        rest_s = self.every_s
        while not stop.wait(rest_s):
            started_s = time.monotonic()
            each(connection)
            took_s = time.monotonic() - started_s
            rest_s = max(self.every_s, _REST_PER_ROUND * took_s)
