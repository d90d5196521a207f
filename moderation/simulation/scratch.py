"""A PostgreSQL of the simulation's own, in a folder that goes away with it."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Engine

from moderation.local import EmbeddedPostgres
from moderation.store import database

# Nothing here is to survive a crash, and a year is to take minutes and a gigabyte.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "'256MB'",
    "autovacuum_naptime": "'5s'",
}


@contextmanager
def scratch_database() -> Iterator[Engine]:
    """Migrated tables on a server that is gone afterwards, with all that was stored."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="captionguard-simulate-"))
        )
        postgres = EmbeddedPostgres(folder / "postgresql")
        stack.callback(postgres.stop)
        # On a thread, since who interrupts a start leaves a server that nobody knows how to stop.
        with ThreadPoolExecutor(1) as thread:
            url = thread.submit(postgres.start).result()
        engine = database.connect(url)
        stack.callback(engine.dispose)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name, value in _FAST.items():
                connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = {value}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        database.migrate(engine)
        yield engine
