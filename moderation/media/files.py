"""Image files as descriptors: a decoder reads them, and their bytes stay out of this process."""

import fcntl
import os
from typing import Self

_NOTHING_CHANGES = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ImageFile:
    """An open file of `size_bytes`, to be closed by whoever takes it.

    With `sha256`, a file of other content is corrupt: the decoder looks.
    """

    __slots__ = ("descriptor", "sha256", "size_bytes")

    def __init__(self, descriptor: int, size_bytes: int, sha256: bytes | None) -> None:
        self.descriptor = descriptor
        self.size_bytes = size_bytes
        self.sha256 = sha256

    @classmethod
    def open(cls, path: str, *, sha256: bytes) -> Self:
        """Open a file on a disk. Raises `OSError`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls(descriptor, os.fstat(descriptor).st_size, sha256)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def of(cls, data: bytes, *, sha256: bytes | None = None) -> Self:
        """Put bytes into a file in memory that nobody can change. Raises `OSError`."""
        descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            # One decoder could change it under the next, which gets it when the first has died.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _NOTHING_CHANGES)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, len(data), sha256)

    def close(self) -> None:
        """Close the descriptor; the decoder has its own."""
        os.close(self.descriptor)
