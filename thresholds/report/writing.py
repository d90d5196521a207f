"""Writes a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from moderation.errors import InputRefused


@contextmanager
def open_whole(path: Path) -> Iterator[TextIO]:
    """Open a file that takes the place of `path` once all of it is written.

    Raises `InputRefused` at once where nothing can be written there; an error inside leaves
    what was there before.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise InputRefused(f"{path} is no file that could be written; name one with --out")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = part.open("x", encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputRefused(
            f"{path} cannot be written: {error.strerror}; name another file with --out"
        ) from error
    try:
        with file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
