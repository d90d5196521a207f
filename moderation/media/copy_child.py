"""The process that makes and stores copies: `python -I -m moderation.media.copy_child SETTINGS`.

Started by `copy_process` with one end of a socket pair as standard input. It is ours and may
write to the blob store, so it is not locked in; of a file it knows no more than its hash, since
decoding and encoding are done by processes of its own that are locked in. SETTINGS is JSON.

    parent -> child    for each file [bytes, SHA-256 in hex or null] as JSON, and its descriptor
    child  -> parent   for each file [key] or [kind of fault, reason, detail] as JSON
"""

import hashlib
import json
import os
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Sequence

from moderation.errors import TemporaryFault, Unscorable
from moderation.media.blobs import BlobStore
from moderation.media.copies import AT_ONCE, CopyMaker
from moderation.media.files import ImageFile
from moderation.settings import Settings

MAX_MESSAGE_BYTES = 2**16
_MAX_DETAIL = 300
# One image may be posted a thousand times, by many URLs.
_REMEMBERED = 4096
_PARENT = 0  # the file descriptor of standard input


def main(arguments: list[str]) -> None:
    """Make copies until the parent closes its end."""
    # Ctrl-C signals a whole group, but the copies at work are to be finished.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    (fields,) = arguments
    settings = Settings(**json.loads(fields))
    blobs = BlobStore(settings.blob_url or "", max_bytes=settings.max_image_bytes)
    with CopyMaker(settings) as maker, socket.socket(fileno=_PARENT) as parent:
        desk = _Desk(maker, blobs)
        parent.send(b"ready")
        while files := _receive(parent):
            parent.send(json.dumps(desk.work(files)).encode())


class _Desk:
    """Makes and stores one copy a file, whoever posted it and however often."""

    def __init__(self, maker: CopyMaker, blobs: BlobStore) -> None:
        self._maker = maker
        self._blobs = blobs
        # Keys of copies by their file's hash.
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def work(self, files: Sequence[ImageFile]) -> list[list[str]]:
        """Close the files; the words for each, in order."""
        names = [file.sha256 or _sha256(file) for file in files]
        outcomes = {name: [self._known[name]] for name in names if name in self._known}
        wanted: dict[bytes, ImageFile] = {}
        for name, file in zip(names, files, strict=True):
            if name in outcomes or name in wanted:
                file.close()
            else:
                wanted[name] = file
        made = self._maker.make_all(list(wanted.values()))
        outcomes |= {name: self._store(name, each) for name, each in zip(wanted, made, strict=True)}
        return [outcomes[name] for name in names]

    def _store(self, name: bytes, made: bytes | Unscorable | TemporaryFault) -> list[str]:
        try:
            if isinstance(made, bytes):
                self._known[name] = self._blobs.put(made)
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
                return [self._known[name]]
            fault = made
        except (Unscorable, TemporaryFault) as error:
            fault = error
        # What a subclass adds is of no use over there.
        kind = Unscorable if isinstance(fault, Unscorable) else TemporaryFault
        return [kind.__name__, fault.reason.value, fault.detail[:_MAX_DETAIL]]


def _receive(parent: socket.socket) -> list[ImageFile]:
    message, descriptors, _, _ = socket.recv_fds(parent, MAX_MESSAGE_BYTES, AT_ONCE)
    if not message:
        return []
    return [
        ImageFile(descriptor, size_bytes, bytes.fromhex(sha256) if sha256 else None)
        for descriptor, (size_bytes, sha256) in zip(descriptors, json.loads(message), strict=True)
    ]


def _sha256(file: ImageFile) -> bytes:
    return hashlib.sha256(os.pread(file.descriptor, file.size_bytes, 0)).digest()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, ConnectionError):
        os._exit(0)  # the parent has gone
