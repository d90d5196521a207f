"""From matched pairs to cases of each kind: planned by the rules, edited and written once."""

import hashlib
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.errors import InputRefused
from moderation.media.pixels import as_seen
from moderation.settings import Settings
from thresholds.kinds.edits import Edit, encoded
from thresholds.kinds.kind import Kind, NotMade, Planned, World
from thresholds.kinds.original import Original, Photo, limited_to, open_image, read_image_file
from thresholds.kinds.swaps import Captions

PAIRS_NAME = "pairs.jsonl"
IMAGES_NAME = "images"


@dataclass(frozen=True, slots=True)
class Case:
    """A pair that is to be written: what its kind plans to make of the original."""

    kind: Kind
    original: Original
    planned: Planned


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a kind: cases, why others were not made, and pairs beyond `per_kind`."""

    kind: Kind
    cases: tuple[Case, ...]
    not_made: dict[str, int]
    not_tried: int


def plan(
    originals: Sequence[Original],
    kinds: Sequence[Kind],
    *,
    seed: int,
    per_kind: int | None = None,
    on_planned: Callable[[], None] = lambda: None,
) -> list[Made]:
    """Plan the cases of each kind; pure, and the same for the same pairs and seed.

    With `per_kind`, pairs are tried in a random order until that many cases are there.
    """
    world = World(Captions(originals), seed)
    made = []
    for kind in kinds:
        cases: list[Case] = []
        not_made: Counter[str] = Counter()
        for original in sorted(originals, key=lambda each: _draw(each, kind, seed)):
            if per_kind is None or len(cases) < per_kind:
                try:
                    cases.append(Case(kind, original, kind.rule(original, world)))
                except NotMade as reason:
                    not_made[str(reason)] += 1
            on_planned()
        not_tried = len(originals) - len(cases) - sum(not_made.values())
        made.append(Made(kind, tuple(cases), dict(not_made.most_common()), not_tried))
    return made


def _draw(original: Original, kind: Kind, seed: int) -> bytes:
    text = "\0".join((str(seed), kind.name, original.photo.sha256, original.caption))
    return hashlib.sha256(text.encode()).digest()


def destination(out: Path) -> Path:
    """The file of pairs that `--out` means: itself, or one in the folder that it names."""
    file = out if out.suffix == ".jsonl" else out / PAIRS_NAME
    if file.exists():
        raise InputRefused(f"{file} exists already; choose another --out, or remove it first")
    if file != out and out.exists() and not out.is_dir():
        raise InputRefused(f"{out} is a file; name a folder, or a new file that ends with .jsonl")
    return file


def edits_of(made: Sequence[Made]) -> int:
    """How many image files `write` makes."""
    return len({_edit_of(case) for each in made for case in each.cases if case.planned.edit})


def write(
    made: Sequence[Made],
    file: Path,
    settings: Settings,
    *,
    on_edited: Callable[[], None] = lambda: None,
) -> None:
    """Edit the images, and write the pairs; the file is there once it is whole, or not at all.

    Raises `InputRefused` where it cannot be written.
    """
    cases = [case for each in made for case in each.cases]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        edited = _edit_all(cases, file.parent / IMAGES_NAME, settings, on_edited)
        lines = []
        for case in cases:
            path = edited[_edit_of(case)] if case.planned.edit else case.original.photo.path
            lines.append(json.dumps(_document(case, _relative(path, file.parent))) + "\n")
        _put(file, "".join(lines).encode())
    except OSError as error:
        raise InputRefused(f"{file} cannot be written: {error}") from error


def _document(case: Case, image: str) -> dict[str, Any]:
    document: dict[str, Any] = {"image": image, "caption": case.planned.caption}
    if case.kind.label is None:
        document["expect"] = "unscorable"
    else:
        document["label"] = case.kind.label
    # Pairs of one photo, edited or not, belong on the same side of a split.
    photo = case.original.photo.sha256
    return document | {"kind": case.kind.name, "of": case.original.of, "of_image": photo}


def _relative(path: Path, folder: Path) -> str:
    # Of real paths: ".." means something else behind a link.
    return os.path.relpath(path.resolve(), folder.resolve())


def _edit_of(case: Case) -> tuple[str, Edit | None]:
    return case.original.photo.sha256, case.planned.edit


_Edited = dict[tuple[str, Edit | None], Path]


def _edit_all(
    cases: Sequence[Case], folder: Path, settings: Settings, on_edited: Callable[[], None]
) -> _Edited:
    """Apply each different edit once, decoding each photo once; returns where the files are."""
    photos: dict[str, Photo] = {}
    edits: dict[str, dict[Edit, None]] = defaultdict(dict)
    for case in cases:
        if case.planned.edit is not None:
            photos[case.original.photo.sha256] = case.original.photo
            edits[case.original.photo.sha256][case.planned.edit] = None
    if not photos:
        return {}
    folder.mkdir(exist_ok=True)

    def edit_one(photo: Photo) -> _Edited:
        return _edit_photo(photo, list(edits[photo.sha256]), folder, settings)

    edited: _Edited = {}
    with limited_to(settings.max_image_pixels), ThreadPoolExecutor() as threads:
        for files in threads.map(edit_one, photos.values()):
            for key, path in files.items():
                edited[key] = path
                on_edited()
    return edited


def _edit_photo(photo: Photo, edits: Sequence[Edit], folder: Path, settings: Settings) -> _Edited:
    data = read_image_file(photo.path, settings)
    with open_image(data, settings.max_image_pixels) as image:
        picture, _ = as_seen(image)
    edited: _Edited = {}
    for edit in edits:
        data, suffix = encoded(edit, picture, is_lossless=photo.is_lossless)
        path = folder / (hashlib.sha256(data).hexdigest() + suffix)
        if not path.exists():
            _put(path, data)
        edited[photo.sha256, edit] = path
    return edited


def _put(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
