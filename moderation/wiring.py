"""The composition root: from settings to the parts that a process holds."""

from dataclasses import dataclass

from sqlalchemy import Engine

from moderation import addresses, queue
from moderation.media.blobs import BlobStore
from moderation.metrics import Metrics
from moderation.queue import QueueClient
from moderation.settings import Settings
from moderation.store import database

# A process's threads share these and wait their turn: servers bear few hundred in all.
_CONNECTIONS = 12


@dataclass(frozen=True, slots=True)
class Services:
    """What every long-running role needs: the truth, the carrier, the images, the counters."""

    settings: Settings
    database: Engine
    queue: QueueClient
    blobs: BlobStore
    metrics: Metrics

    def close(self) -> None:
        """Give connections back."""
        self.database.dispose()
        self.queue.redis.close()
        self.queue.app.close()


def open_services(settings: Settings, *, checks_connections: bool = True) -> Services:
    """Connect lazily to everything; raises `ServiceUnavailable` where an address is missing.

    Connections to PostgreSQL need not be checked for those who try again.
    """
    return Services(
        settings=settings,
        database=database.connect(
            addresses.database_url(settings), pool_size=_CONNECTIONS, is_checked=checks_connections
        ),
        queue=queue.connect(addresses.redis_url(settings)),
        blobs=BlobStore(addresses.blob_url(settings), max_bytes=settings.max_image_bytes),
        metrics=Metrics(),
    )
