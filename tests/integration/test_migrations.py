"""The migrations make the tables that the code expects."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from moderation.store import database, submissions
from moderation.store.quality_tables import metadata as quality_metadata
from moderation.store.review_tables import metadata
from moderation.wiring import Services
from tests.conftest import Servers, eventually


def test_the_migrated_tables_are_the_declared_ones(services: Services) -> None:
    """After all migrations nothing differs from `tables.py` and the two beside it."""
    assert quality_metadata is metadata
    with services.database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


def test_migrating_twice_changes_nothing(services: Services) -> None:
    """Every role may migrate at its start."""
    database.migrate(services.database)


@pytest.fixture
def first_version(servers: Servers) -> Iterator[Engine]:
    """A database with the tables of the first version."""
    engine = database.connect(servers.empty_database())
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    yield engine
    engine.dispose()


def _await_waiting(engine: Engine, table: str) -> None:
    """Wait until somebody waits for a lock on a table."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = (:t)::regclass")
    with engine.connect() as connection:
        eventually(lambda: bool(connection.execute(waiting, {"t": table}).scalar_one()))


def test_workers_beat_while_a_large_table_gets_its_index(first_version: Engine) -> None:
    """However long the verdicts are read for it, no worker of the version before seems dead."""
    with ThreadPoolExecutor(1) as elsewhere:
        with first_version.begin() as writing:
            # The index waits for whoever writes verdicts, as long as it would read many.
            writing.execute(text("LOCK TABLE verdicts IN ROW EXCLUSIVE MODE"))
            migrating = elsewhere.submit(database.migrate, first_version)
            _await_waiting(first_version, "verdicts")
            with first_version.begin() as connection:
                connection.execute(text("SET LOCAL statement_timeout = 5000"))
                connection.execute(text("LOCK TABLE workers IN ROW EXCLUSIVE MODE"))
        migrating.result(60)


def test_a_migration_waits_for_workers_at_work(first_version: Engine) -> None:
    """Whoever has begun to write goes on to its other tables: neither ends as a deadlock."""
    with ThreadPoolExecutor(1) as elsewhere:
        with first_version.begin() as writing:
            writing.execute(text("LOCK TABLE submissions IN ROW EXCLUSIVE MODE"))
            migrating = elsewhere.submit(database.migrate, first_version)
            _await_waiting(first_version, "submissions")
            writing.execute(text("LOCK TABLE verdicts IN ROW EXCLUSIVE MODE"))
            writing.execute(text("LOCK TABLE workers IN ACCESS SHARE MODE"))
        migrating.result(60)


def test_the_index_of_times_keeps_up_with_the_newest(services: Services) -> None:
    """It is told of new verdicts as they come, not when a fifth of the table is new."""
    with services.database.connect() as connection:
        options = connection.execute(
            text("SELECT reloptions FROM pg_class WHERE relname = 'ix_verdicts_created_at'")
        ).scalar_one()
    assert options == ["autosummarize=true"]


def test_asking_whether_the_tables_are_there_reads_none_of_them(services: Services) -> None:
    """Readiness is asked every few seconds, also where millions wait and nothing is published."""
    with services.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO submissions (id, platform, policy, caption, image_blob, message_id)"
                " SELECT gen_random_uuid(), 'p', 'default', 'a dog', repeat('a', 64), 'm'"
                " FROM generate_series(1, 5000)"
            )
        )
        connection.execute(text("ANALYZE submissions"))
        before = connection.execute(text(_READ)).scalar_one()
        submissions.ping(connection)
        assert connection.execute(text(_READ)).scalar_one() - before <= 1


_READ = "SELECT pg_stat_get_xact_tuples_returned('submissions'::regclass)"
