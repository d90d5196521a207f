"""One connection pool a process, and the migrations."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from moderation.errors import ServiceUnavailable


def connect(url: str, *, pool_size: int = 10) -> Engine:
    """An engine for `postgresql://…`; connections are checked before they are used."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ServiceUnavailable(
            "CAPTIONGUARD_DATABASE_URL must look like postgresql://user:password@host/name."
        )
    return create_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": "captionguard"},
    )


def migrate(database: Engine) -> None:
    """Bring the tables to this version; several processes may call it at once."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with database.begin() as connection:
            # One at a time: Alembic itself takes no lock. The number is ours alone.
            connection.execute(text("SELECT pg_advisory_xact_lock(724083115)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise ServiceUnavailable(
            "PostgreSQL does not answer; check CAPTIONGUARD_DATABASE_URL and that the server runs."
        ) from error


def is_passing(error: Exception) -> bool:
    """Whether a database error may pass by itself: a lost connection, a restart, a deadlock."""
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
