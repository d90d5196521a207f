"""The audit log: who did what to what, and when. Rows are only ever added."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from moderation.store.review_tables import audit_log


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a user's name, `platform:NAME` or `cli:NAME`; and from where."""

    name: str
    address: str | None = None


def record(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str | None = None,
    **details: Any,
) -> None:
    """Write a line in the transaction of what it tells of, so that neither is without the other.

    `action` is `noun.participle`, such as `case.claimed`; `subject` is `noun:id`. Details are
    plain JSON and hold no secret, caption or URL.
    """
    record_many(connection, actor, action, {subject: details})


def record_many(
    connection: Connection,
    actor: Actor,
    action: str,
    subjects: Mapping[str | None, Mapping[str, Any]],
) -> None:
    """Write a line for each subject, with its details."""
    rows = [
        {
            "actor": actor.name,
            "address": actor.address,
            "action": action,
            "subject": subject,
            "details": dict(details),
        }
        for subject, details in subjects.items()
    ]
    if rows:
        connection.execute(insert(audit_log), rows)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log; ids grow with time."""

    id: int
    created_at: datetime
    actor: str
    action: str
    subject: str | None
    details: Mapping[str, Any]
    address: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: each part that is given must fit exactly; `until` is not within."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def lines(
    connection: Connection, wanted: Wanted, *, before: int | None = None, at_most: int
) -> list[Line]:
    """The newest lines, or the newest of those older than the line `before`."""
    query = _query(wanted).order_by(audit_log.c.id.desc()).limit(at_most)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    return [Line(*row) for row in connection.execute(query)]


def all_lines(connection: Connection, wanted: Wanted) -> Iterator[Line]:
    """Every line, the oldest first, without holding them all."""
    query = _query(wanted).order_by(audit_log.c.id)
    for row in connection.execution_options(yield_per=1000).execute(query):
        yield Line(*row)


def actions(connection: Connection) -> list[str]:
    """The actions that occur, by name; from one to the next in the index, not line by line."""
    found: list[str] = []
    smallest = select(audit_log.c.action).order_by(audit_log.c.action).limit(1)
    query = smallest
    while (action := connection.execute(query).scalar_one_or_none()) is not None:
        found.append(action)
        query = smallest.where(audit_log.c.action > action)
    return found


def _query(wanted: Wanted) -> Select[Any]:
    query: Select[Any] = select(*(audit_log.c[name] for name in _COLUMNS))
    for name in ("actor", "action", "subject"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(audit_log.c[name] == value)
    if wanted.since is not None:
        query = query.where(audit_log.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit_log.c.created_at < wanted.until)
    return query


_COLUMNS = ("id", "created_at", "actor", "action", "subject", "details", "address")
