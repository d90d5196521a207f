"""Statements by libpq itself: JSON in and out, transactions, and connections that die."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from moderation.addresses import database_url
from moderation.local import EmbeddedPostgres
from moderation.store import copies, database, submissions, verdicts
from moderation.store.database import is_passing
from moderation.store.direct import KeptConnection, Statement, ask, ask_within
from moderation.wiring import Services
from tests.conftest import eventually

ECHO = Statement("echo", "SELECT $1::json")
DIVIDE = Statement("divide", "SELECT to_json(1 / CAST($1::json AS text)::integer)")
NOTE = Statement("note", "INSERT INTO notes SELECT CAST($1::json ->> 'number' AS integer)")

# What JSON can say: PostgreSQL keeps it as it is written.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("aé'\"\\%$ "), inner),
    max_leaves=8,
)


@pytest.fixture
def kept(services: Services) -> Iterator[KeptConnection]:
    """A kept connection to a database with an empty table of numbers."""
    with services.database.begin() as connection:
        connection.execute(text("CREATE TABLE notes (number integer)"))
    kept = KeptConnection(services.database)
    yield kept
    kept.close()


def noted(services: Services) -> list[int]:
    """The numbers that anybody else sees."""
    with services.database.connect() as connection:
        return list(connection.execute(text("SELECT number FROM notes ORDER BY number")).scalars())


def pid(connection: Connection) -> Any:
    """The process that serves a connection."""
    return ask(connection, Statement("pid", "SELECT to_json(pg_backend_pid()), $1::json"), None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=JSON)
def test_what_goes_in_comes_out(kept: KeptConnection, document: Any) -> None:
    """Whatever signs a caption has, and however large a number is."""
    with kept.autocommit() as connection:
        assert ask(connection, ECHO, document) == document


def test_numbers_may_be_numpys(kept: KeptConnection) -> None:
    """As the scores of a simulated year are."""
    with kept.autocommit() as connection:
        given = {"score": np.float32(0.5), "count": np.int64(3), "both": np.array([1.0, 2.0])}
        assert ask(connection, ECHO, given) == {"score": 0.5, "count": 3, "both": [1.0, 2.0]}


def test_a_statement_without_a_row_answers_nothing(
    services: Services, kept: KeptConnection
) -> None:
    """What it does is done all the same, at once and for all."""
    with kept.autocommit() as connection:
        assert ask(connection, NOTE, {"number": 1}) is None
        assert noted(services) == [1]


def test_a_transaction_holds_whoever_speaks_in_it(services: Services, kept: KeptConnection) -> None:
    """Statements of both kinds: nobody sees any before the end, and then all, each time."""
    for number in range(2):
        with kept.transaction() as connection:
            ask(connection, NOTE, {"number": 2 * number})
            connection.execute(text("INSERT INTO notes VALUES (:n)"), {"n": 2 * number + 1})
            assert noted(services) == list(range(2 * number))
        assert noted(services) == list(range(2 * number + 2))


def test_nothing_is_left_of_a_transaction_that_failed(
    services: Services, kept: KeptConnection
) -> None:
    """What came before the error is undone, also what was said through SQLAlchemy."""

    def fail() -> None:
        with kept.transaction() as connection:
            ask(connection, NOTE, {"number": 1})
            connection.execute(text("INSERT INTO notes VALUES (2)"))
            ask(connection, DIVIDE, 0)

    with pytest.raises(psycopg.errors.DivisionByZero) as fault:
        fail()
    assert not is_passing(fault.value)
    with kept.transaction() as connection:
        ask(connection, NOTE, {"number": 3})
    assert noted(services) == [3]


def test_an_error_that_was_passed_over_is_told_in_the_end(
    services: Services, kept: KeptConnection
) -> None:
    """PostgreSQL has undone all by then, and would take the commit without a word."""

    def pass_over() -> None:
        with kept.transaction() as connection:
            ask(connection, NOTE, {"number": 1})
            with suppress(psycopg.errors.DivisionByZero):
                ask(connection, DIVIDE, 0)

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        pass_over()
    assert noted(services) == []


def test_it_belongs_to_the_transaction_of_another_connection(services: Services) -> None:
    """One of SQLAlchemy's begins with its first statement, whichever kind that is."""
    with services.database.begin() as connection:
        connection.execute(text("CREATE TABLE notes (number integer)"))

    def fail() -> None:
        with services.database.begin() as connection:
            ask(connection, NOTE, {"number": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert noted(services) == []
    with services.database.begin() as connection:
        ask(connection, NOTE, {"number": 2})
        assert noted(services) == []
    assert noted(services) == [2]


def test_it_goes_on_after_a_rollback_and_on_a_connection_that_was_kept(services: Services) -> None:
    """Whoever had the connection before, and whatever was undone on it."""
    with services.database.connect() as connection:
        for number in range(3):
            assert ask(connection, ECHO, number) == number
            connection.rollback()
    kept = KeptConnection(services.database)
    for number in range(3):
        with kept.autocommit() as connection:
            assert ask(connection, ECHO, number) == number
        kept.close()
        with services.database.begin() as connection:
            assert ask(connection, ECHO, number) == number


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_connection_that_died_is_followed_by_another(
    services: Services, kept: KeptConnection, is_idle: bool
) -> None:
    """The statement that finds out fails for now, and the next one is as good as ever."""
    with kept.autocommit() as connection:
        first = pid(connection)

    def end() -> None:
        with services.database.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": first})

    def note(number: int) -> None:
        with kept.transaction() as connection:
            if not is_idle:
                end()
            ask(connection, NOTE, {"number": number})

    if is_idle:
        end()
    with pytest.raises(psycopg.OperationalError) as fault:
        note(1)
    assert is_passing(fault.value)
    with kept.autocommit() as connection:
        assert pid(connection) != first
        ask(connection, NOTE, {"number": 2})
    assert noted(services) == [2]


def test_a_server_that_died_is_asked_again(tmp_path: Path) -> None:
    """One that is ended at once says no last word that statements would fail with."""
    server = EmbeddedPostgres(tmp_path / "postgresql")
    engine = database.connect(server.start(), is_checked=False)
    kept = KeptConnection(engine)
    try:
        with kept.autocommit() as connection:
            ask(connection, ECHO, 1)
        postmaster = int((tmp_path / "postgresql" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        eventually(lambda: not server.is_running())
        with pytest.raises(psycopg.OperationalError) as fault, kept.autocommit() as connection:
            ask(connection, ECHO, 2)
        assert is_passing(fault.value)
        server.restart()
        with kept.autocommit() as connection:
            assert ask(connection, ECHO, 3) == 3
    finally:
        kept.close()
        engine.dispose()
        server.stop()


def test_of_a_pool_that_died_one_connection_finds_out(services: Services) -> None:
    """The others are not tried one by one, and none is kept from whoever needs one."""
    unchecked = database.connect(database_url(services.settings), is_checked=False)
    with contextlib.ExitStack() as opened:
        pids = [pid(opened.enter_context(unchecked.connect())) for _ in range(5)]
    with services.database.begin() as other:
        end = text("SELECT pg_terminate_backend(pid, 10000) FROM unnest(:pids) AS pid")
        other.execute(end, {"pids": pids})
    kept = KeptConnection(unchecked)
    with pytest.raises(OperationalError) as fault, kept.autocommit():
        pass
    assert is_passing(fault.value)
    assert unchecked.pool.checkedout() == 0
    with kept.autocommit() as connection:
        assert pid(connection) not in pids
    kept.close()
    unchecked.dispose()


def test_a_question_waits_for_a_lock_no_longer_than_it_may(
    services: Services, kept: KeptConnection
) -> None:
    """It is given up by the server; asked again when the lock is gone, it is answered."""
    count = "SELECT to_json(count(*)) FROM notes"
    with services.database.begin() as other:
        other.execute(text("LOCK TABLE notes"))
        with pytest.raises(psycopg.errors.QueryCanceled), kept.autocommit() as connection:
            ask_within(connection, count, timeout_ms=50)
    with kept.autocommit() as connection:
        assert ask_within(connection, count, timeout_ms=5000) == 0
        # The limit was that transaction's, and none is open.
        shown = "SELECT to_json(current_setting('statement_timeout')), $1::json"
        assert ask(connection, Statement("limit", shown), None) == "0"


def test_while_a_question_waits_other_threads_run(services: Services, kept: KeptConnection) -> None:
    """Here the lock that it waits for is given up by one of them."""
    with services.database.connect() as other, services.database.connect() as watching:
        other.execute(text("LOCK TABLE notes"))
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

        def give_up() -> None:
            eventually(lambda: watching.execute(waiting).scalar_one() > 0)
            other.rollback()

        thread = threading.Thread(target=give_up)
        thread.start()
        with kept.autocommit() as connection:
            asked = "SELECT to_json(count(*)) FROM notes"
            assert ask_within(connection, asked, timeout_ms=10_000) == 0
        thread.join()


def test_plans_that_are_kept_read_no_table_as_a_whole(services: Services) -> None:
    """They are made once, also where a worker starts on a day when there is nothing yet."""
    kept = KeptConnection(services.database)
    with kept.autocommit() as connection:
        submissions.claim(connection, [], worker=uuid4(), lease_s=5.0)
        verdicts.record(connection, [], lambda *_: None)
        copies.take(connection, limit=1, lease=timedelta(seconds=5))
        copies.settle(connection, [])
        for name in ("claim", "record", "take_copies", "settle_copies"):
            # PostgreSQL may make a plan for each of the first five times.
            for _ in range(6):
                plan = connection.exec_driver_sql(f"EXPLAIN EXECUTE {name}('{{}}')").scalars().all()
            assert "Index Scan" in "\n".join(plan), name
            assert "Seq Scan" not in "\n".join(plan), name
    kept.close()
