"""Sessions: who is signed in, on a browser or as a tool. Tokens are stored as hashes."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from uuid_utils.compat import uuid7

from moderation.store.review_tables import sessions, users
from moderation.store.users import User


class Kind(StrEnum):
    """How a session's token travels."""

    BROWSER = "browser"
    TOKEN = "token"  # noqa: S105 - not a password


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; `csrf` is what a browser's forms carry beside the cookie."""

    id: UUID
    user: User
    kind: Kind
    csrf: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that has not ended, as its owner sees it."""

    id: UUID
    kind: Kind
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session and its token: this is the only time it can be read."""

    session_id: UUID
    token: str
    csrf: str
    expires_at: datetime


def open_session(connection: Connection, user_name: str, *, kind: Kind, lasts: timedelta) -> Opened:
    """Sign somebody in, who has proven who they are."""
    id_, token, csrf = uuid7(), f"cgs_{secrets.token_urlsafe(32)}", secrets.token_urlsafe(32)
    expires_at = connection.execute(
        insert(sessions)
        .values(
            id=id_,
            token_sha256=_hash(token),
            user_name=user_name,
            kind=kind.value,
            csrf=csrf,
            expires_at=func.now() + lasts,
        )
        .returning(sessions.c.expires_at)
    ).scalar_one()
    return Opened(id_, token, csrf, expires_at)


def find(connection: Connection, token: str, *, idle: timedelta) -> Session | None:
    """Whose token this is; None if it ended, expired, idled too long, or is a disabled person's.

    Only a browser's session ends by idling.
    """
    row = (
        connection.execute(
            select(
                users,
                sessions.c.id.label("session_id"),
                sessions.c.kind.label("session_kind"),
                sessions.c.csrf.label("session_csrf"),
                (sessions.c.seen_at < func.now() - timedelta(minutes=1)).label("seen_long_ago"),
            )
            .join(users, users.c.name == sessions.c.user_name)
            .where(
                sessions.c.token_sha256 == _hash(token),
                _is_open(idle),
                users.c.disabled_at.is_(None),
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    if row["seen_long_ago"]:
        connection.execute(
            update(sessions).where(sessions.c.id == row["session_id"]).values(seen_at=func.now())
        )
    return Session(row["session_id"], User.of(row), Kind(row["session_kind"]), row["session_csrf"])


def list_open(connection: Connection, user_name: str, *, idle: timedelta) -> list[OpenSession]:
    """Where somebody is signed in, the last opened first."""
    rows = connection.execute(
        select(sessions)
        .where(sessions.c.user_name == user_name, _is_open(idle))
        .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    )
    return [
        OpenSession(row.id, Kind(row.kind), row.created_at, row.seen_at, row.expires_at)
        for row in rows
    ]


def end(connection: Connection, session_id: UUID, user_name: str) -> bool:
    """End a session of that person; False if there is none that has not ended."""
    ended = connection.execute(
        update(sessions)
        .where(
            sessions.c.id == session_id,
            sessions.c.user_name == user_name,
            sessions.c.ended_at.is_(None),
        )
        .values(ended_at=func.now())
    )
    return ended.rowcount > 0


def end_all(connection: Connection, user_name: str) -> int:
    """Sign somebody out everywhere; how many sessions that ended."""
    return connection.execute(
        update(sessions)
        .where(sessions.c.user_name == user_name, sessions.c.ended_at.is_(None))
        .values(ended_at=func.now())
    ).rowcount


def _is_open(idle: timedelta) -> ColumnElement[bool]:
    is_idle = (sessions.c.kind == Kind.BROWSER.value) & (sessions.c.seen_at < func.now() - idle)
    return sessions.c.ended_at.is_(None) & (sessions.c.expires_at > func.now()) & ~is_idle


def _hash(token: str) -> str:
    # Plain SHA-256 is enough for 256 random bits; slow hashes are for passwords.
    return hashlib.sha256(token.encode()).hexdigest()
