"""Copies made and stored beside this process: a file goes over, and the copy's key comes back.

Pixels would cost this process more than all else that it does for a copy: to take them over, to
encode them, to hash and to store what comes of it.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from moderation.addresses import blob_url
from moderation.errors import TemporaryFault, Unscorable
from moderation.media.copies import AT_ONCE
from moderation.media.copy_child import MAX_MESSAGE_BYTES
from moderation.media.files import ImageFile
from moderation.settings import Settings
from moderation.types import Reason

# Starting takes half a second; a machine under load may take long, but not for ever.
_START_TIMEOUT_S = 60.0
_FAULTS = {fault.__name__: fault for fault in (Unscorable, TemporaryFault)}

Outcome = str | Unscorable | TemporaryFault


class CopyProcess:
    """Makes and stores copies in a process of its own; used by one thread at a time.

    It starts when first needed and is replaced when it fails. No call takes longer than
    `timeout_s`. Close it after use.
    """

    def __init__(self, settings: Settings) -> None:
        # Images out of time one after the other, or a start of all that it needs, and the store.
        work_s = (AT_ONCE + 1) * settings.decode_timeout_s + _START_TIMEOUT_S
        self.timeout_s = _START_TIMEOUT_S + work_s
        self._work_s = work_s
        self._fields = json.dumps(
            {
                "blob_url": blob_url(settings),
                "max_image_bytes": settings.max_image_bytes,
                "max_image_pixels": settings.max_image_pixels,
                "decode_timeout_s": settings.decode_timeout_s,
                "decode_memory_bytes": settings.decode_memory_bytes,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def make_all(self, files: Sequence[ImageFile]) -> list[Outcome]:
        """Keys of the copies of up to `AT_ONCE` files, which it closes, in order; or why none.

        One that cannot be decoded keeps none of the others. Where the process fails, all have a
        `TemporaryFault`: another try, of each alone, tells at which.
        """
        try:
            return self._ask(files) if files else []
        except (OSError, ValueError) as error:
            self._kill()
            detail = f"the process that makes copies failed: {error}"
            return [TemporaryFault(Reason.IMAGE_DECODER_FAILED, detail)] * len(files)
        except BaseException:
            self._kill()  # an interrupt leaves half a turn behind
            raise
        finally:
            for file in files:
                file.close()

    def close(self) -> None:
        """End the process, if there is one, with what it has started."""
        if self._process is not None and self._socket is not None:
            self._socket.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_START_TIMEOUT_S)
        self._kill()

    def _ask(self, files: Sequence[ImageFile]) -> list[Outcome]:
        there = self._running()
        there.settimeout(self._work_s)
        asked = [[file.size_bytes, file.sha256.hex() if file.sha256 else None] for file in files]
        socket.send_fds(there, [json.dumps(asked).encode()], [file.descriptor for file in files])
        outcomes = [_outcome(*words) for words in json.loads(_answer(there))]
        if len(outcomes) != len(files):
            raise ValueError("it answered for other files")
        return outcomes

    def _running(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # something else, such as the kernel out of memory, has ended it
        if self._socket is None:
            # Each message is whole, and what is closed is seen at both ends.
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-I", "-m", "moderation.media.copy_child", self._fields],
                    stdin=theirs.fileno(),
                    # A bucket's credentials, and nothing of our own servers, however written.
                    env={name: value for name, value in os.environ.items() if not _is_ours(name)},
                )
            self._socket.settimeout(_START_TIMEOUT_S)
            _answer(self._socket)
        return self._socket

    def _kill(self) -> None:
        """End the process at once; what it has started sees that and ends as well."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith("CAPTIONGUARD_")


def _answer(there: socket.socket) -> bytes:
    message = there.recv(MAX_MESSAGE_BYTES)
    if not message:
        raise ConnectionError("it ended in the middle")
    return message


def _outcome(word: str, reason: str | None = None, detail: str = "") -> Outcome:
    return word if reason is None else _FAULTS[word](Reason(reason), detail)
