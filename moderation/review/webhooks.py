"""Webhook endpoints and deliveries as admins change them, at the desk or at the command line.

Each change is written to the audit log in its own transaction; no URL and no secret is.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine

from moderation.errors import InputRefused
from moderation.intake import check_platform
from moderation.settings import Settings
from moderation.store import audit, deliveries, endpoints
from moderation.store.audit import Actor
from moderation.store.endpoints import REMOVED, Endpoint
from moderation.webhooks import (
    ROTATION_OVERLAP,
    Answer,
    Sender,
    check_endpoint_url,
    new_secret,
    ping,
)


class NoSuchEndpoint(InputRefused):
    """There is no endpoint of that id."""

    def __init__(self, endpoint_id: UUID) -> None:
        super().__init__(f"There is no endpoint {endpoint_id}; see `captionguard webhooks list`.")


class NotReplayable(InputRefused):
    """A delivery that cannot be sent again."""

    def __init__(self, delivery_id: UUID) -> None:
        super().__init__(
            f"There is no delivery {delivery_id} that could be sent again: it waits for its next "
            "try, was cancelled, or its endpoint is disabled."
        )


@dataclass(frozen=True, slots=True)
class Added:
    """A new endpoint and its secret: this is the only time it can be read."""

    endpoint: Endpoint
    secret: str = field(repr=False)


def add(
    connection: Connection, actor: Actor, settings: Settings, *, platform: str, url: str
) -> Added:
    """Tell a platform at `url` what happens from now on."""
    check_platform(platform)
    check_endpoint_url(url, allow_private=settings.webhook_allow_private)
    secret = new_secret()
    endpoint = existing(connection, endpoints.add(connection, platform, url, secret))
    _note(connection, actor, "added", endpoint)
    return Added(endpoint, secret)


def rotate(connection: Connection, actor: Actor, endpoint_id: UUID) -> Added:
    """Give an endpoint a new secret; for a day both sign."""
    endpoint, secret = existing(connection, endpoint_id), new_secret()
    endpoints.rotate(connection, endpoint_id, secret, overlap=ROTATION_OVERLAP)
    _note(connection, actor, "rotated", endpoint)
    return Added(existing(connection, endpoint_id), secret)


def enable(connection: Connection, actor: Actor, endpoint_id: UUID) -> Endpoint:
    """Send again to an endpoint that was disabled; what failed meanwhile waits for a replay."""
    endpoint = existing(connection, endpoint_id)
    if endpoints.enable(connection, endpoint_id):
        _note(connection, actor, "enabled", endpoint)
    return existing(connection, endpoint_id)


def remove(connection: Connection, actor: Actor, endpoint_id: UUID) -> None:
    """Send nothing more, not even what waits."""
    endpoint = existing(connection, endpoint_id)
    endpoints.remove(connection, endpoint_id)
    _note(connection, actor, "disabled", endpoint, why=REMOVED)


def replay(connection: Connection, actor: Actor, delivery_id: UUID) -> None:
    """Send a delivery again that was given up, or got lost on the platform's side."""
    if not deliveries.replay(connection, delivery_id):
        raise NotReplayable(delivery_id)
    audit.record(connection, actor, "webhook.replayed", f"delivery:{delivery_id}")


def replay_failed(connection: Connection, actor: Actor, span: timedelta) -> int:
    """Send everything again that was given up within the last `span`; how much that is."""
    count = deliveries.replay_failed(connection, span)
    if count:
        audit.record(connection, actor, "webhook.replayed", deliveries=count)
    return count


def test(database: Engine, settings: Settings, endpoint_id: UUID) -> Answer:
    """Send a signed `ping` to an endpoint, also to a disabled one, and wait for its answer."""
    with database.connect() as connection:
        endpoint = existing(connection, endpoint_id)
        signing = endpoints.secrets_of(connection, endpoint_id)
    sender = Sender(
        timeout_s=settings.webhook_timeout_s, allow_private=settings.webhook_allow_private
    )
    try:
        return sender.send(ping(endpoint.url, signing))
    finally:
        sender.close()


def existing(connection: Connection, endpoint_id: UUID) -> Endpoint:
    """The endpoint of that id; `NoSuchEndpoint` without one."""
    endpoint = endpoints.find(connection, endpoint_id)
    if endpoint is None:
        raise NoSuchEndpoint(endpoint_id)
    return endpoint


def _note(
    connection: Connection, actor: Actor, done: str, endpoint: Endpoint, **details: str
) -> None:
    audit.record(
        connection,
        actor,
        f"webhook.{done}",
        f"webhook:{endpoint.id}",
        platform=endpoint.platform,
        **details,
    )
