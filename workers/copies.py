"""Makes copies of cases' images for the desk, beside the scoring and after it."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.copies import AT_ONCE
from moderation.media.copy_process import CopyProcess
from moderation.media.fetch import open_fetcher
from moderation.media.files import ImageFile
from moderation.store.copies import WantedCopy
from moderation.types import Reason
from moderation.wiring import Services
from workers.copy_ledger import CopyLedger
from workers.kept import KeptFiles

log = structlog.get_logger()

# What other workers left, or what waited out a fault.
_LOOK_EVERY_S = 5.0
# A case that comes alone is copied at once; those of the next moments go together, as cases wait
# an hour and longer for people.
_PAUSE_S = 3.0
_MOST_AT_ONCE = 16
# Beyond the longest fetch and turn of copies, on a busy machine.
_LEASE_MARGIN_S = 30.0

# Cases that share one copy.
_Group = Sequence[WantedCopy]


class Copier:
    """Makes copies on a thread of its own, many at a time, as long as cases want any.

    Several workers share the work. What one dies with, another makes when its lease is over.
    """

    def __init__(self, services: Services, kept: KeptFiles) -> None:
        settings = services.settings
        self._services = services
        self._kept = kept
        self._process = CopyProcess(settings)
        self._fetcher = open_fetcher(settings)
        # It is renewed between a fetch and a turn of copies, so that the longer of the two fits.
        longest_s = max(settings.fetch_timeout_s, self._process.timeout_s)
        self._ledger = CopyLedger(services, timedelta(seconds=longest_s + _LEASE_MARGIN_S))
        self._resting_until_s = 0.0
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="captionguard-copies", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Cases were opened."""
        self._news.set()

    def close(self) -> None:
        """Finish the copies under way and leave the others to other workers."""
        self._stopping.set()
        self._news.set()
        self._thread.join()
        self._ledger.close()
        self._process.close()
        self._fetcher.close()

    def _run(self) -> None:
        # Only the children are nice: a nice thread that has the GIL keeps all others waiting.
        while not self._stopping.is_set():
            self._news.clear()
            if not self._try_next():
                self._news.wait(_LOOK_EVERY_S)
                self._stopping.wait(max(0.0, self._resting_until_s - monotonic()))

    def _try_next(self) -> bool:
        try:
            return self._next()
        except (SQLAlchemyError, psycopg.Error) as error:
            log.warning("copies_wait", error=type(error).__name__)
        except Exception:
            # Whatever it is: leases run out, and the copies of other cases are still wanted.
            log.exception("copy_failed")
        self._stopping.wait(_LOOK_EVERY_S)
        return False

    def _next(self) -> bool:
        """Make copies, or note why not; whether there may be more to make."""
        batch = self._ledger.take(_MOST_AT_ONCE)
        if not batch:
            return False
        self._resting_until_s = monotonic() + _PAUSE_S
        groups = self._groups(batch)
        try:
            while groups and not self._stopping.is_set():
                turn, groups = groups[:AT_ONCE], groups[AT_ONCE:]
                self._turn(turn)
        finally:
            self._ledger.hand_back(wanted for group in groups for wanted in group)
            self._ledger.store()
        # One that was tried before comes alone.
        return len(batch) == _MOST_AT_ONCE or batch[0].attempts > 1

    def _groups(self, batch: Sequence[WantedCopy]) -> list[_Group]:
        """Who may share a copy that is to be made; what needs none is settled."""
        groups: dict[str | UUID, list[WantedCopy]] = {}
        for wanted in batch:
            if wanted.known is not None:
                self._made([wanted], wanted.known, is_shared=True)
            elif wanted.attempts > self._services.settings.max_attempts:
                detail = f"{wanted.attempts - 1} tries ended without a word"
                self._failed([wanted], Unscorable(Reason.IMAGE_DECODER_FAILED, detail))
            else:
                image = wanted.image.blob or wanted.submission_id
                groups.setdefault(image, []).append(wanted)
        return list(groups.values())

    def _turn(self, groups: Sequence[_Group]) -> None:
        """Have copies made and stored, one a group."""
        opened: list[_Group] = []
        files: list[ImageFile] = []
        try:
            for group in groups:
                self._ledger.keep_up()
                try:
                    files.append(self._open(group[0]))
                    opened.append(group)
                except (Unscorable, TemporaryFault) as fault:
                    self._failed(group, fault)
            self._ledger.keep_up()
        except BaseException:
            for file in files:
                file.close()
            raise
        for group, outcome in zip(opened, self._process.make_all(files), strict=True):
            if isinstance(outcome, str):
                self._made(group, outcome)
            else:
                self._failed(group, outcome)

    def _open(self, wanted: WantedCopy) -> ImageFile:
        """Raises what may be settled."""
        if wanted.image.url is None:
            return self._services.blobs.open(wanted.image.blob or "")
        data = self._kept.find(wanted.submission_id) or self._fetcher.fetch(wanted.image.url)
        try:
            return ImageFile.of(data)
        except OSError as error:
            raise TemporaryFault(Reason.IMAGE_DECODER_FAILED, str(error)) from error

    def _made(self, group: _Group, blob: str, *, is_shared: bool = False) -> None:
        for place, wanted in enumerate(group):
            self._ledger.made(wanted, blob, is_shared=is_shared or place > 0)
        self._kept.drop(wanted.submission_id for wanted in group)

    def _failed(self, group: _Group, fault: Unscorable | TemporaryFault) -> None:
        # What is tried again is tried with what was judged.
        over = [wanted for wanted in group if self._ledger.failed(wanted, fault)]
        self._kept.drop(wanted.submission_id for wanted in over)
