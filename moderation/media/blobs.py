"""The blob store: image files, each under the SHA-256 of its content.

A key is 64 lower-case hex digits; the object lies at `ab/cd/<key>`, so that no folder of a
local store grows beyond what file systems like.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import LocalStore, MemoryStore, from_url

from moderation.errors import (
    CaptionguardError,
    InputRefused,
    ServiceUnavailable,
    SetupError,
    TemporaryFault,
    Unscorable,
)
from moderation.media.files import ImageFile
from moderation.types import Reason

_KEY = re.compile(r"[0-9a-f]{64}")
_SCHEMES = ("s3", "gs", "az", "file", "memory")

# obstore's own defaults go on for three minutes; a worker has its own retries, with backoff.
_RETRIES = 2
_RETRY_TIMEOUT = timedelta(seconds=10)
_CONNECT_TIMEOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=20)


def check_key(key: str) -> None:
    """Raise `InputRefused` unless `key` is written like a key of the blob store."""
    if not _KEY.fullmatch(key):
        raise InputRefused(
            "A blob key is the SHA-256 of the image file: 64 lower-case hex digits.",
            field="image_blob",
        )


class BlobStore:
    """Content-addressed image files in a folder or a bucket; threads may share one.

    `location` is a folder, or `s3://bucket/prefix`, `gs://…`, `az://container/prefix`,
    `file:///folder` or `memory://`; credentials of a bucket are its cloud's own environment
    variables. Files above `max_bytes` are neither stored nor read. Raises `SetupError` where
    the location cannot be used.
    """

    def __init__(self, location: str | Path, *, max_bytes: int) -> None:
        self._folder = _folder_of(str(location))
        self._store = _open_store(str(location), self._folder)
        self._max_bytes = max_bytes

    @property
    def is_local(self) -> bool:
        """Whether reading is a matter of a disk and not of a network."""
        return self._folder is not None

    def put(self, data: bytes) -> str:
        """Store a file and return its key; what is stored already is not written again.

        Writes are atomic: a reader finds the whole file or none, also when several writers
        bring the same one. Raises `Unscorable` (too many bytes) or `TemporaryFault`.
        """
        self._check_size(len(data))
        key = hashlib.sha256(data).hexdigest()
        if self._folder is not None:
            _write(f"{self._folder}/{_path(key)}", data)
            return key
        with _store_trouble(), suppress(AlreadyExistsError):
            try:
                obstore.put(self._store, _path(key), data, mode="create", use_multipart=False)
            except NotSupportedError:
                # Some S3-compatible stores lack conditional writes. Writing the same content
                # twice does no harm, it only costs the upload.
                obstore.put(self._store, _path(key), data, use_multipart=False)
        return key

    def get(self, key: str) -> bytes:
        """Return the file under `key`; whoever decodes it verifies it against the key.

        Raises `Unscorable` (not found, too many bytes) or `TemporaryFault` when the store does
        not answer.
        """
        _check_reference(key)
        try:
            with _store_trouble():
                return self._read(_path(key))
        except FileNotFoundError as error:
            raise _missing(key) from error

    def open(self, key: str) -> ImageFile:
        """The file under `key`, for a decoder that verifies it; the bytes stay where they are.

        On a disk it is opened, of a bucket it is fetched. Raises what `get` raises.
        """
        if self._folder is None:
            return _in_memory(self.get(key), key)
        _check_reference(key)
        try:
            file = ImageFile.open(f"{self._folder}/{_path(key)}", sha256=bytes.fromhex(key))
        except FileNotFoundError as error:
            raise _missing(key) from error
        except OSError as error:
            raise _trouble(error) from error
        try:
            self._check_size(file.size_bytes)
        except Unscorable:
            file.close()
            raise
        return file

    def _read(self, path: str) -> bytes:
        if self._folder is None:
            result = obstore.get(self._store, path)
            self._check_size(result.meta["size"])
            return bytes(result.bytes())
        # Four times as cheap as through obstore, whose threads cost more than reading does.
        with (self._folder / path).open("rb") as file:
            self._check_size(os.fstat(file.fileno()).st_size)
            return file.read()

    def check(self) -> None:
        """Write and read an empty blob; raise `ServiceUnavailable` if the store cannot."""
        try:
            self.get(self.put(b""))
        except CaptionguardError as error:
            raise ServiceUnavailable(
                f"The blob store cannot be written or read: {error}"
            ) from error

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise Unscorable(
                Reason.IMAGE_TOO_MANY_BYTES,
                f"the file has {size_bytes} bytes, the limit is {self._max_bytes}",
            )


def _write(path: str, data: bytes) -> None:
    """Write a file at once or not at all; raise `TemporaryFault` where the disk fails.

    As obstore does it, at half the cost: through a file beside it whose name is none of a blob, and
    left to the system to bring to the disk. Who comes second writes the same content.
    """
    staged = f"{path}#{secrets.token_hex(8)}"
    try:
        if os.path.exists(path):
            return
        try:
            file = open(staged, "xb", buffering=0)  # noqa: SIM115 - closed below
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = open(staged, "xb", buffering=0)  # noqa: SIM115
        try:
            with file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
            os.rename(staged, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(staged)
            raise
    except OSError as error:
        raise _trouble(error) from error


def _path(key: str) -> str:
    return f"{key[:2]}/{key[2:4]}/{key}"


def _folder_of(location: str) -> Path | None:
    """The folder that a location names, or None for a bucket or memory."""
    if "://" not in location:
        return Path(location).absolute()
    if location.startswith("file://"):
        return Path(unquote(urlsplit(location).path)).absolute()
    return None


def _open_store(location: str, folder: Path | None) -> "obstore.store.ObjectStore":
    scheme = location.partition("://")[0]
    if folder is None and scheme not in _SCHEMES:
        raise SetupError(
            f"The blob store's location begins with {scheme}://; give a folder or one of "
            + ", ".join(f"{known}://" for known in _SCHEMES)
        )
    try:
        if scheme == "memory":
            return MemoryStore()
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return LocalStore(folder)
        return from_url(
            location,
            client_options={"connect_timeout": _CONNECT_TIMEOUT, "timeout": _REQUEST_TIMEOUT},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
        )
    except (BaseError, OSError, ValueError) as error:
        raise SetupError(f"The blob store cannot be opened: {_first_line(error)}") from error


@contextmanager
def _store_trouble() -> Iterator[None]:
    """Turn what obstore raises into `TemporaryFault`, but for exists and not-found."""
    try:
        yield
    except (AlreadyExistsError, FileNotFoundError):
        raise
    except (BaseError, OSError) as error:
        raise _trouble(error) from error


def _trouble(error: Exception) -> TemporaryFault:
    detail = f"the blob store failed: {_first_line(error)}"
    return TemporaryFault(Reason.IMAGE_UNREACHABLE, detail)


def _check_reference(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise Unscorable(Reason.IMAGE_NOT_FOUND, "the reference is no key of the blob store")


def _missing(key: str) -> Unscorable:
    return Unscorable(Reason.IMAGE_NOT_FOUND, f"no blob {key[:12]}… is stored; was it deleted?")


def _in_memory(data: bytes, key: str) -> ImageFile:
    with _store_trouble():
        return ImageFile.of(data, sha256=bytes.fromhex(key))


def _first_line(error: Exception) -> str:
    """Leave out obstore's debug dump, which follows after an empty line."""
    return str(error).partition("\n")[0][:300]
