"""Matched pairs as they were handed in: photos with all their captions, and the lines."""

import hashlib
import io
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from moderation.captions import NO_WORD, caption_fault
from moderation.errors import InputRefused
from moderation.intake import SubmissionIn, context_of, describe
from moderation.media.pixels import FORMATS, MAX_SIDE_PX, as_seen
from moderation.settings import Settings

_LOSSLESS = ("PNG", "GIF")


@dataclass(frozen=True, slots=True)
class Photo:
    """An image file: named by its content, upright; `captions` are all that belong to it."""

    sha256: str
    path: Path
    width_px: int
    height_px: int
    is_animated: bool
    is_lossless: bool
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Original:
    """A photo and one of its own captions; `of` is its external id, or else its line."""

    photo: Photo
    caption: str
    of: str | int


@dataclass(frozen=True, slots=True)
class RefusedOriginal:
    """A line that cannot be used, and why."""

    line: int
    problem: str

    def told(self) -> str:
        """The refusal in words."""
        return f"line {self.line}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Originals:
    """What a file holds; lines of mismatches and lines said before are only counted."""

    pairs: tuple[Original, ...]
    refused: tuple[RefusedOriginal, ...]
    mismatches: int
    repeated: int


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    path: Path
    fields: dict[str, Any]


def read_originals(file: Path, settings: Settings, *, on_photo: Callable[[int], None]) -> Originals:
    """Read matched pairs, in an order that does not depend on that of the lines.

    A wrong line is refused, the others go on; an image that cannot be read refuses all its lines.
    `on_photo` is told after each file looked at how many there are in all.
    """
    refused: list[RefusedOriginal] = []
    lines: list[_Line] = []
    mismatches = 0
    for number, document in _documents(file):
        try:
            line = _line(number, document, file.parent)
        except InputRefused as error:
            refused.append(RefusedOriginal(number, str(error)))
            continue
        if line is None:
            mismatches += 1
        else:
            lines.append(line)
    photos = _look_at({line.path for line in lines}, settings, on_photo)
    kept: dict[tuple[str, str], Original] = {}
    taken = 0
    for line in lines:
        photo = photos[line.path]
        try:
            if isinstance(photo, InputRefused):
                raise photo
            original = _original(line, photo, settings)
        except InputRefused as error:
            refused.append(RefusedOriginal(line.number, str(error)))
            continue
        taken += 1
        key = (photo.sha256, original.caption)
        kept[key] = min(kept.get(key, original), original, key=_rank)
    refused.sort(key=lambda each: each.line)
    return Originals(_in_order(kept), tuple(refused), mismatches, taken - len(kept))


def _rank(original: Original) -> tuple[str, str, int]:
    named = original.of if isinstance(original.of, str) else ""
    return str(original.photo.path), named, 0 if named else int(original.of)


def _in_order(kept: dict[tuple[str, str], Original]) -> tuple[Original, ...]:
    captions = defaultdict(list)
    for sha256, caption in sorted(kept):
        captions[sha256].append(caption)
    return tuple(
        replace(pair, photo=replace(pair.photo, captions=tuple(captions[sha256])))
        for (sha256, _), pair in sorted(kept.items(), key=lambda item: item[0])
    )


def _documents(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield number, error


def _line(number: int, document: Any, folder: Path) -> _Line | None:
    if isinstance(document, Exception):
        raise InputRefused(f"is no JSON: {document}")
    if not isinstance(document, dict):
        raise InputRefused("is no JSON object")
    label = document.get("label", "match")
    if label == "mismatch":
        return None
    if label not in (None, "match"):
        raise InputRefused(f"label: must be match or mismatch, is {label!r}")
    image = document.get("image")
    if not isinstance(image, str) or not image:
        raise InputRefused("image: a path is required")
    if image.startswith(("http://", "https://")):
        raise InputRefused("image: is a URL; fetch it first, and give the path of the file")
    fields = {name: document[name] for name in ("caption", "external_id") if name in document}
    return _Line(number, folder / image, fields)


def _original(line: _Line, photo: Photo, settings: Settings) -> Original:
    try:
        submission = SubmissionIn.model_validate(
            {**line.fields, "image_blob": photo.sha256}, context=context_of(settings)
        )
    except ValidationError as error:
        raise InputRefused(describe(error)) from error
    if caption_fault(submission.caption):
        raise InputRefused(f"caption: {NO_WORD}")
    return Original(photo, submission.caption, submission.external_id or line.number)


def _look_at(
    paths: set[Path], settings: Settings, on_photo: Callable[[int], None]
) -> dict[Path, Photo | InputRefused]:
    """Decode each file once, so that nothing fails when pairs are made of it."""
    found: dict[Path, Photo | InputRefused] = {}
    with limited_to(settings.max_image_pixels), ThreadPoolExecutor() as threads:
        for path, photo in zip(
            paths, threads.map(lambda path: _photo(path, settings), paths), strict=True
        ):
            found[path] = photo
            on_photo(len(paths))
    return found


def _photo(path: Path, settings: Settings) -> Photo | InputRefused:
    try:
        data = read_image_file(path, settings)
        with open_image(data, settings.max_image_pixels) as image:
            is_lossless = image.format in _LOSSLESS
            upright, is_animated = as_seen(image)
    except InputRefused as error:
        return InputRefused(f"image: {path.name} {error}")
    except Exception as error:  # a decoder fed with arbitrary bytes may raise anything
        return InputRefused(f"image: {path.name} is no picture, or a damaged one: {error}")
    return Photo(
        hashlib.sha256(data).hexdigest(),
        path,
        upright.width,
        upright.height,
        is_animated,
        is_lossless,
    )


def read_image_file(path: Path, settings: Settings) -> bytes:
    """The bytes of a file, as large as workers take."""
    try:
        size = path.stat().st_size
        if not 0 < size <= settings.max_image_bytes:
            raise InputRefused(f"has {size} bytes; 1 to {settings.max_image_bytes} are taken")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputRefused(f"cannot be read: {why}") from error


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Open, but do not decode, an image of a kind that workers read and of a size they take."""
    too_many = f"has more pixels than are taken: {max_pixels} in all, {MAX_SIDE_PX} a side"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputRefused(too_many) from error
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE_PX:
        raise InputRefused(too_many)
    return image


@contextmanager
def limited_to(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse larger images, in all threads; entered by one thread at a time."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
