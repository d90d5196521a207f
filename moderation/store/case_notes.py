"""What people write beside a case for those who come after them. Notes are only ever added."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, select
from uuid_utils.compat import uuid7

from moderation.store.review_tables import case_notes


@dataclass(frozen=True, slots=True)
class CaseNote:
    """What somebody wrote beside a case."""

    by: str
    text: str
    at: datetime


def add_note(connection: Connection, case_id: UUID, user_name: str, text: str) -> UUID:
    """Write a note; its id."""
    id_: UUID = uuid7()
    connection.execute(
        insert(case_notes).values(id=id_, case_id=case_id, user_name=user_name, text=text)
    )
    return id_


def notes_of(connection: Connection, case_id: UUID) -> list[CaseNote]:
    """The case's notes, oldest first."""
    rows = connection.execute(
        select(case_notes.c.user_name, case_notes.c.text, case_notes.c.created_at)
        .where(case_notes.c.case_id == case_id)
        .order_by(case_notes.c.created_at, case_notes.c.id)
    )
    return [CaseNote(*row) for row in rows]
