"""The migrations make the tables that the code expects."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from moderation.store import database
from moderation.store.tables import metadata
from moderation.wiring import Services


def test_the_migrated_tables_are_the_declared_ones(services: Services) -> None:
    """After all migrations nothing differs from `tables.py`."""
    with services.database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


def test_migrating_twice_changes_nothing(services: Services) -> None:
    """Every role may migrate at its start."""
    database.migrate(services.database)
