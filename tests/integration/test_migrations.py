"""The migrations make the tables that the code expects."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from moderation.store import database, submissions
from moderation.store.tables import metadata
from moderation.wiring import Services
from tests.conftest import Servers, eventually


def test_the_migrated_tables_are_the_declared_ones(services: Services) -> None:
    """After all migrations nothing differs from `tables.py`."""
    with services.database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


def test_migrating_twice_changes_nothing(services: Services) -> None:
    """Every role may migrate at its start."""
    database.migrate(services.database)


def test_workers_beat_while_a_large_table_gets_its_index(servers: Servers) -> None:
    """However long the verdicts are read for it, no worker of the version before seems dead."""
    engine = database.connect(servers.database())
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with ThreadPoolExecutor(1) as elsewhere:
        with engine.begin() as writing:
            # The index waits for whoever writes verdicts, as long as it would read many.
            writing.execute(text("LOCK TABLE verdicts IN ROW EXCLUSIVE MODE"))
            migrating = elsewhere.submit(database.migrate, engine)
            with engine.connect() as connection:
                eventually(
                    lambda: bool(connection.execute(text(_WAITING)).scalar_one()), within_s=20
                )
            with engine.begin() as connection:
                connection.execute(text("SET LOCAL statement_timeout = 5000"))
                connection.execute(text("LOCK TABLE workers IN ROW EXCLUSIVE MODE"))
        migrating.result(60)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(publication) FROM workers")).scalar_one() == 0
    engine.dispose()


_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'verdicts'::regclass"


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
