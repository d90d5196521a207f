"""Makes copies of cases' images for the desk, beside the scoring and after it."""

import hashlib
import random
import threading
from collections import OrderedDict
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.copies import encode_copy, open_copy_decoder
from moderation.media.fetch import open_fetcher
from moderation.media.files import ImageFile
from moderation.review.opening import given_up
from moderation.store import copies
from moderation.store.copies import WantedCopy
from moderation.types import Image, Reason
from moderation.wiring import Services
from workers.kept import KeptFiles

log = structlog.get_logger()

# What other workers left, or what waited out a fault.
_LOOK_EVERY_S = 5.0
# Beyond the longest fetch and decoding: storing the copy, on a busy machine.
_LEASE_MARGIN_S = 30.0
_LONGEST_WAIT_S = 300.0
_REMEMBERED = 4096


class Copier:
    """Makes one copy after the other on a thread of its own, as long as cases want any.

    Several workers share the work. What one dies with, another makes when its lease is over.
    """

    def __init__(self, services: Services, kept: KeptFiles) -> None:
        settings = services.settings
        self._services = services
        self._kept = kept
        self._decoder = open_copy_decoder(settings)
        self._fetcher = open_fetcher(settings)
        self._lease = timedelta(
            seconds=settings.fetch_timeout_s + settings.decode_timeout_s + _LEASE_MARGIN_S
        )
        # Copies by their file's hash: one image may be posted a thousand times, by many URLs.
        self._remembered: OrderedDict[bytes, str] = OrderedDict()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="captionguard-copies", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Cases were opened."""
        self._news.set()

    def close(self) -> None:
        """Finish the copy under way and leave the others to other workers."""
        self._stopping.set()
        self._news.set()
        self._thread.join()
        self._decoder.close()
        self._fetcher.close()

    def _run(self) -> None:
        # Only the decoder is nice: a nice thread that has the GIL keeps all others waiting.
        while not self._stopping.is_set():
            self._news.clear()
            if not self._try_next():
                self._news.wait(_LOOK_EVERY_S)

    def _try_next(self) -> bool:
        try:
            return self._next()
        except SQLAlchemyError as error:
            log.warning("copies_wait", error=type(error).__name__)
        except Exception:
            # Whatever it is: its lease runs out, and the copies of other cases are still wanted.
            log.exception("copy_failed")
        self._stopping.wait(_LOOK_EVERY_S)
        return False

    def _next(self) -> bool:
        """Make a copy, or note why not; whether there was one to make."""
        with self._services.database.begin() as connection:
            wanted = copies.take(connection, lease=self._lease)
            if wanted is None:
                return False
            known = copies.known(connection, wanted)
            if known is not None:
                copies.made(connection, wanted.case_id, known)
        if known is not None:
            self._count("shared")
            return True
        try:
            key = self._make(wanted)
        except (Unscorable, TemporaryFault) as fault:
            self._settle(wanted, fault)
            return True
        with self._services.database.begin() as connection:
            copies.made(connection, wanted.case_id, key)
        self._count("made")
        return True

    def _settle(self, wanted: WantedCopy, fault: Unscorable | TemporaryFault) -> None:
        """Put a copy off after what may pass, and give it up after what will not, or too often."""
        settings = self._services.settings
        # A machine out of memory looks like an image that breaks decoders: another try tells.
        may_pass = isinstance(fault, TemporaryFault) or (
            fault.reason is Reason.IMAGE_DECODER_FAILED and wanted.attempts == 1
        )
        is_over = not may_pass or wanted.attempts >= settings.max_attempts
        with self._services.database.begin() as connection:
            if is_over:
                copies.give_up(connection, wanted.case_id, _words(wanted, fault.reason))
            else:
                # Full jitter above half, as for submissions.
                wait_s = min(settings.retry_base_s * 2**wanted.attempts, _LONGEST_WAIT_S)
                wait = timedelta(seconds=wait_s * random.uniform(0.5, 1.0))  # noqa: S311
                copies.put_off(connection, wanted.case_id, wait=wait)
        self._count("given_up" if is_over else "put_off")
        log.warning(
            "copy_given_up" if is_over else "copy_put_off",
            case=str(wanted.case_id),
            tries=wanted.attempts,
            reason=fault.reason.value,
            detail=fault.detail,
        )

    def _make(self, wanted: WantedCopy) -> str:
        """Decode in the sandbox, encode, store; the copy's key. Raises what may be settled."""
        if wanted.attempts > self._services.settings.max_attempts:
            detail = f"{wanted.attempts - 1} tries ended without a word"
            raise Unscorable(Reason.IMAGE_DECODER_FAILED, detail)
        if wanted.image.url is None:
            return self._store(self._decode(self._services.blobs.open(wanted.image.blob or "")))
        data = self._kept.take(wanted.submission_id)
        if data is None:
            data = self._fetcher.fetch(wanted.image.url)
        name = hashlib.sha256(data).digest()
        if name not in self._remembered:
            self._remembered[name] = self._store(self._decode(_in_memory(data)))
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return self._remembered[name]

    def _decode(self, file: ImageFile) -> Image:
        (answer,) = self._decoder.decode_all([file])
        if not isinstance(answer.outcome, Image):
            raise answer.outcome
        return answer.outcome

    def _store(self, image: Image) -> str:
        return self._services.blobs.put(encode_copy(image))

    def _count(self, result: str) -> None:
        self._services.metrics.image_copies.labels(result).inc()


def _in_memory(data: bytes) -> ImageFile:
    try:
        return ImageFile.of(data)
    except OSError as error:
        raise TemporaryFault(Reason.IMAGE_DECODER_FAILED, str(error)) from error


def _words(wanted: WantedCopy, reason: Reason) -> str:
    if reason is Reason.IMAGE_NOT_FOUND:
        is_ours = wanted.image.url is None
        where = "from our store" if is_ours else "from where the platform keeps it"
        return f"The image is gone {where}."
    return given_up(reason)
