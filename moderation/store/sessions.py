"""Sessions: who is signed in, on a browser or as a tool. Tokens are stored as hashes."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update
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
class Opened:
    """A new session and its token: this is the only time it can be read."""

    session_id: UUID
    token: str
    csrf: str


def open_session(connection: Connection, user_name: str, *, kind: Kind, lasts: timedelta) -> Opened:
    """Sign somebody in, who has proven who they are."""
    opened = Opened(uuid7(), f"cgs_{secrets.token_urlsafe(32)}", secrets.token_urlsafe(32))
    connection.execute(
        insert(sessions).values(
            id=opened.session_id,
            token_sha256=_hash(opened.token),
            user_name=user_name,
            kind=kind.value,
            csrf=opened.csrf,
            expires_at=func.now() + lasts,
        )
    )
    return opened


def find(connection: Connection, token: str, *, idle: timedelta) -> Session | None:
    """Whose token this is; None if it ended, expired, idled too long, or is a disabled person's.

    Only a browser's session ends by idling.
    """
    is_idle = (sessions.c.kind == Kind.BROWSER.value) & (sessions.c.seen_at < func.now() - idle)
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
                sessions.c.ended_at.is_(None),
                sessions.c.expires_at > func.now(),
                ~is_idle,
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


def end(connection: Connection, session_id: UUID) -> None:
    """Sign out; what has ended already stays ended."""
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.ended_at.is_(None))
        .values(ended_at=func.now())
    )


def end_all(connection: Connection, user_name: str) -> int:
    """Sign somebody out everywhere; how many sessions that ended."""
    return connection.execute(
        update(sessions)
        .where(sessions.c.user_name == user_name, sessions.c.ended_at.is_(None))
        .values(ended_at=func.now())
    ).rowcount


def _hash(token: str) -> str:
    # Plain SHA-256 is enough for 256 random bits; slow hashes are for passwords.
    return hashlib.sha256(token.encode()).hexdigest()
