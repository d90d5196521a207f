"""API keys, one or more a platform, stored as hashes."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from moderation.store.tables import api_keys


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: UUID
    platform: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None


def add(connection: Connection, platform: str) -> str:
    """Make a key for a platform and return it: this is the only time it can be read."""
    secret = f"cg_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(api_keys).values(
            id=uuid7(), platform=platform, secret_sha256=_hash(secret), hint=secret[:7]
        )
    )
    return secret


def platform_of(connection: Connection, secret: str) -> str | None:
    """The platform that a key belongs to, or None if there is no such key or no longer."""
    return connection.execute(
        select(api_keys.c.platform).where(
            api_keys.c.secret_sha256 == _hash(secret), api_keys.c.revoked_at.is_(None)
        )
    ).scalar_one_or_none()


def list_all(connection: Connection) -> list[ApiKey]:
    """All keys, the oldest first."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at))
    return [ApiKey(r.id, r.platform, r.hint, r.created_at, r.revoked_at) for r in rows]


def revoke(connection: Connection, key_id: UUID) -> bool:
    """Make a key worthless; whether there was one to revoke."""
    return (
        connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=func.now())
        ).rowcount
        == 1
    )


def _hash(secret: str) -> str:
    # Plain SHA-256 is enough for 256 random bits; slow hashes are for passwords.
    return hashlib.sha256(secret.encode()).hexdigest()
