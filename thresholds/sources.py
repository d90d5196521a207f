"""One reader for all label sources: pairs to score, files of cosines, moderators' decisions."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from moderation.errors import InputRefused
from moderation.settings import Settings
from thresholds.cosines import is_json, read_cosines
from thresholds.labels import Labels
from thresholds.models import Model, NamedModel


@dataclass(frozen=True, slots=True)
class Source:
    """Labels, and where they come from.

    `model` is the one whose cosines they are, None for a file that does not say. `captions`
    and `images` (path, URL or blob key) are in the order of `labels`, and empty where they are
    not known. `refused` says of lines that were left out what is wrong with them.
    """

    labels: Labels
    model: Model | None
    captions: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def read_source(
    file: Path | None,
    settings: Settings,
    *,
    model: str | None = None,
    from_decisions: bool = False,
    since: datetime | None = None,
    cold_start: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> Source:
    """Read labels from a file, whatever it holds, or from the decisions of moderators.

    `model` names the model that cosines are of; pairs are scored with it, or with the set one.
    With `cold_start` pairs have no labels: they are taken for matches, and shuffled by `seed`
    for mismatches. Raises `InputRefused` for a file that is wrong, with the line's number.
    """
    if (file is None) is not from_decisions:
        raise InputRefused("give either a file of labels or --from-decisions")
    if file is None:
        raise InputRefused("labels from decisions are not there yet")
    text = _text_of(file)
    if not text.strip():
        raise InputRefused(f"{file} is empty; nothing was done")
    if not is_json(text) or _has_cosines(text):
        if cold_start:
            raise InputRefused("--cold-start needs pairs of image and caption, not cosines")
        return _cosines(file, text, settings, model)
    raise InputRefused("pairs are not there yet")


def _cosines(file: Path, text: str, settings: Settings, model: str | None) -> Source:
    told = read_cosines(file, text)
    return Source(
        told.labels,
        None if model is None else _identity(model, settings),
        told.captions,
        tuple(_reference(file.parent, image) for image in told.images),
    )


def _identity(spec: str, settings: Settings) -> NamedModel:
    from moderation.scoring.model import load_model

    loaded = load_model(spec, device=settings.device)
    return NamedModel(loaded.spec, loaded.weights_sha256, loaded.preprocessing_sha256)


def _has_cosines(text: str) -> bool:
    """Whether the first line is an object with a cosine."""
    try:
        first = json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "cosine" in first


def _reference(folder: Path, image: str) -> str:
    """The path of an image that lies beside the labels, else its name as it is."""
    try:
        path = folder / image
        return str(path) if path.is_file() else image
    except (OSError, ValueError):
        return image


def _text_of(file: Path) -> str:
    try:
        data = file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputRefused(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputRefused(
            f"{file}: line {line} is not UTF-8; save the file as UTF-8. Nothing was done"
        ) from error
