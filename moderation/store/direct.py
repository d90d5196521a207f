"""Statements by libpq itself, JSON in and JSON out: for the few that a worker sends all the time.

Between forward passes a thread finds the CPU's caches full of weights, and has to fetch all code
that it runs from memory. Through SQLAlchemy and psycopg's cursors a small statement then costs
0.75 ms of CPU, through libpq, which psycopg wraps, 0.07 ms.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import orjson
import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Connection, Engine

# Where a kept connection has the names of what it has prepared, below SQLAlchemy's.
_PREPARED = "captionguard_prepared"
# Plans are kept as well, and tables grow: one made for few rows would read all. Before
# PostgreSQL 18 what is to be avoided looks so dear that it would be compiled.
_SET_UP = "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)"
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


@dataclass(frozen=True, slots=True)
class Statement:
    """One of a single parameter, `$1`, a JSON document; it answers one JSON value or nothing.

    On a kept connection it is prepared under its name. Elsewhere psycopg may drop what it has not
    prepared itself: it does with each rollback.
    """

    name: str
    text: str


def ask(connection: Connection, statement: Statement, document: Any) -> Any:
    """Execute a statement in the connection's transaction; its answer, None where it gives none.

    NumPy's numbers in the document are numbers. Raises `psycopg.Error`.
    """
    raw = _raw(connection)
    if not raw.autocommit and raw.pgconn.transaction_status == TransactionStatus.IDLE:
        # As psycopg does before the first statement.
        _run(raw.pgconn, b"BEGIN")
    given = [orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)]
    prepared = connection.info.get(_PREPARED)
    if prepared is None:
        result = _check(raw.pgconn, raw.pgconn.exec_params(statement.text.encode(), given))
    else:
        name = statement.name.encode()
        if name not in prepared:
            _check(raw.pgconn, raw.pgconn.prepare(name, statement.text.encode()))
            prepared.add(name)
        result = _check(raw.pgconn, raw.pgconn.exec_prepared(name, given))
    value = result.get_value(0, 0) if result.ntuples else None
    return None if value is None else orjson.loads(value)


def ask_within(connection: Connection, query: str, *, timeout_ms: int) -> Any:
    """The answer to a query, one row of one JSON value, in a transaction that lasts no longer.

    The connection must be outside one. Raises `psycopg.errors.QueryCanceled` where a lock keeps
    the answer for so long, and any other `psycopg.Error`.
    """
    pgconn = _raw(connection).pgconn
    # One message of several statements is a transaction. While it is waited for, other threads
    # run, as they would not while libpq's PQgetResult waits.
    limit = f"SET LOCAL statement_timeout = {timeout_ms}"
    value = _check(pgconn, pgconn.exec_(f"{limit}; {query}".encode())).get_value(0, 0)
    return None if value is None else orjson.loads(value)


class KeptConnection:
    """A connection that one thread keeps, in autocommit; another follows where it fails.

    Taking one from the pool and giving it back costs as much as what is asked. Close it after use.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._connection: Connection | None = None

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """The connection; each statement is a transaction of its own."""
        try:
            if self._connection is None:
                self._connection = self._database.connect()
                self._connection.execution_options(isolation_level="AUTOCOMMIT")
                # Through SQLAlchemy: where this one has died, it takes the pool's others for dead.
                self._connection.exec_driver_sql(_SET_UP)
                self._connection.info[_PREPARED] = set()
            yield self._connection
        except BaseException:
            # Whatever it was, the next one begins with a connection of which all is known.
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The connection, in one transaction, which nothing is left of if that fails.

        Raises `psycopg.errors.InFailedSqlTransaction` where an error in it was passed over.
        """
        with self.autocommit() as connection:
            pgconn = _raw(connection).pgconn
            _run(pgconn, b"BEGIN")
            yield connection
            if _run(pgconn, b"COMMIT").command_status != b"COMMIT":
                raise psycopg.errors.InFailedSqlTransaction("nothing of it was stored")

    def close(self) -> None:
        """End the connection: nobody else could prepare what it has prepared."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._connection = None


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _run(pgconn: PGconn, command: bytes) -> PGresult:
    return _check(pgconn, pgconn.exec_(command))


def _check(pgconn: PGconn, result: PGresult) -> PGresult:
    if result.status in _GOOD:
        return result
    code = result.error_field(DiagnosticField.SQLSTATE)
    if pgconn.status == ConnStatus.BAD or code is None:
        # The server's last word, or libpq's own, of which psycopg could not tell what it is.
        raise psycopg.OperationalError(pgconn.get_error_message())
    raise error_from_result(result, encoding="utf-8")
