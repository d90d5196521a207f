"""One connection pool a process, and the migrations."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from moderation.errors import ServiceUnavailable
from moderation.store.locks import Lock, wait_for

# Alembic reads its options with configparser, to which a % means something.
_SCRIPTS = str(Path(__file__).parent / "migrations").replace("%", "%%")


def connect(url: str, *, pool_size: int = 10, is_checked: bool = True) -> Engine:
    """An engine for `postgresql://…`; connections are checked before they are used.

    That costs a message and a wake-up each time. Not checked, the first statement after
    PostgreSQL was gone fails: for those who try again.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ServiceUnavailable(
            "CAPTIONGUARD_DATABASE_URL must look like postgresql://user:password@host/name."
        )
    try:
        return create_engine(
            f"postgresql+psycopg://{rest}",
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=is_checked,
            # Captions and signed URLs are parameters, and errors are logged.
            hide_parameters=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "captionguard",
                # Whatever the database keeps: JSON is UTF-8.
                "client_encoding": "utf8",
            },
        )
    except (ValueError, ArgumentError) as error:
        raise ServiceUnavailable(
            "CAPTIONGUARD_DATABASE_URL cannot be read; signs such as / and @ in a password are "
            "written as %2F and %40."
        ) from error


def migrate(database: Engine) -> None:
    """Bring the tables to this version; several processes may call it at once."""
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    try:
        with database.begin() as connection:
            # One at a time: Alembic itself takes no lock.
            wait_for(connection, Lock.MIGRATION)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise ServiceUnavailable(
            "PostgreSQL does not answer; check CAPTIONGUARD_DATABASE_URL and that the server runs."
        ) from error


def is_passing(error: Exception) -> bool:
    """Whether a database error may pass: a lost connection, a restart, a deadlock, a failover."""
    if isinstance(error, PoolTimeout):
        return True
    cause: object = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig
    return isinstance(cause, psycopg.OperationalError | psycopg.errors.ReadOnlySqlTransaction)
