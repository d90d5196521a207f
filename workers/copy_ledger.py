"""The copies that this worker has leased, and what came of them, until PostgreSQL knows."""

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta
from time import monotonic
from uuid import UUID

import structlog

from moderation.errors import TemporaryFault, Unscorable
from moderation.review.opening import given_up
from moderation.store import copies
from moderation.store.copies import Settled, WantedCopy
from moderation.store.direct import KeptConnection
from moderation.types import Reason
from moderation.wiring import Services

log = structlog.get_logger()

_LONGEST_WAIT_S = 300.0
# Many at once cost PostgreSQL and us little; but no copy waits long for one that takes long.
_STORE_EVERY_S = 1.0


class CopyLedger:
    """Takes copies, and stores what came of them, many at a time; used by one thread.

    Leases are renewed by `keep_up`, which is to be called at least twice in a `lease`.
    """

    def __init__(self, services: Services, lease: timedelta) -> None:
        self._services = services
        self._kept = KeptConnection(services.database)
        self._lease = lease
        self._leased: dict[UUID, WantedCopy] = {}
        self._settled: list[Settled] = []
        self._stored_s = monotonic()

    def take(self, limit: int) -> list[WantedCopy]:
        """Lease up to so many cases that want a copy. Raises as `store`."""
        self.store()
        with self._kept.autocommit() as connection:
            taken = copies.take(connection, limit=limit, lease=self._lease)
        self._leased = {wanted.case_id: wanted for wanted in taken}
        self._stored_s = monotonic()
        return taken

    def made(self, wanted: WantedCopy, blob: str, *, is_shared: bool = False) -> None:
        """There is a copy; shared, if it was made for another case."""
        self._settle(Settled(wanted, blob=blob), "shared" if is_shared else "made")

    def failed(self, wanted: WantedCopy, fault: Unscorable | TemporaryFault) -> bool:
        """Put a copy off after what may pass, and give it up after what will not, or too often.

        Whether it is over.
        """
        settings = self._services.settings
        # A machine out of memory looks like an image that breaks decoders: another try tells.
        may_pass = isinstance(fault, TemporaryFault) or (
            fault.reason is Reason.IMAGE_DECODER_FAILED and wanted.attempts == 1
        )
        is_over = not may_pass or wanted.attempts >= settings.max_attempts
        if is_over:
            self._settle(Settled(wanted, problem=_words(wanted, fault.reason)), "given_up")
        else:
            # Full jitter above half, as for submissions.
            wait_s = min(settings.retry_base_s * 2**wanted.attempts, _LONGEST_WAIT_S)
            wait = timedelta(seconds=wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            self._settle(Settled(wanted, wait=wait), "put_off")
        log.warning(
            "copy_given_up" if is_over else "copy_put_off",
            case=str(wanted.case_id),
            tries=wanted.attempts,
            reason=fault.reason.value,
            detail=fault.detail,
        )
        return is_over

    def hand_back(self, untried: Iterable[WantedCopy]) -> None:
        """Leave copies that were not begun to whoever comes next."""
        for wanted in untried:
            self._leased.pop(wanted.case_id, None)
            self._settled.append(Settled(wanted, untried=True))

    def keep_up(self) -> None:
        """Store what there is and renew the other leases, if it is time. Raises as `store`."""
        if monotonic() - self._stored_s >= _STORE_EVERY_S:
            self.store([Settled(wanted, wait=self._lease) for wanted in self._leased.values()])

    def store(self, more: Sequence[Settled] = ()) -> None:
        """Store what came of copies; what cannot be stored is kept.

        Raises `SQLAlchemyError` or `psycopg.Error`.
        """
        settled = [*self._settled, *more]
        if settled:
            with self._kept.autocommit() as connection:
                copies.settle(connection, settled)
        self._settled.clear()
        self._stored_s = monotonic()

    def close(self) -> None:
        """End the connection that it keeps."""
        self._kept.close()

    def _settle(self, settled: Settled, result: str) -> None:
        self._leased.pop(settled.wanted.case_id, None)
        self._settled.append(settled)
        self._services.metrics.image_copies.labels(result).inc()


def _words(wanted: WantedCopy, reason: Reason) -> str:
    if reason is Reason.IMAGE_NOT_FOUND:
        is_ours = wanted.image.url is None
        where = "from our store" if is_ours else "from where the platform keeps it"
        return f"The image is gone {where}."
    return given_up(reason)
