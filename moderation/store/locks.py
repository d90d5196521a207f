"""The numbers of our advisory locks in PostgreSQL: one list, so that no two things share one."""

from enum import IntEnum, unique

from sqlalchemy import Connection, text


@unique
class Lock(IntEnum):
    """What is done by one process at a time."""

    MIGRATION = 724083115
    RECONCILER = 724083116
    PUBLICATION = 724083117
    # A watching scheduler keeps it as long as it lives.
    WATCH = 724083118
    REASONS = 724083119
    MISSED_CASES = 724083120
    # A measuring scheduler keeps it as long as it lives, and plans the audits, too.
    QUALITY = 724083121


def wait_for(connection: Connection, lock: Lock) -> None:
    """Hold a lock until this transaction ends, after whoever holds it now."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock.value})
