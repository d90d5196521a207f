"""The audit log: who did what to what, and when. Rows are only ever added."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert

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
