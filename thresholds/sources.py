"""One reader for all label sources: pairs to score, files of cosines, moderators' decisions."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moderation.console import progress
from moderation.errors import InputRefused
from moderation.settings import Settings
from thresholds.cosines import is_json, read_cosines
from thresholds.decisions import read_decisions
from thresholds.labels import Labels
from thresholds.models import Model, NamedModel, load_identity
from thresholds.pairs import Pair, read_pairs, shuffled
from thresholds.splits import check_splits

if TYPE_CHECKING:
    from thresholds.scoring import ScoredPair


@dataclass(frozen=True, slots=True)
class Source:
    """Labels, and where they come from.

    `model` is the one whose cosines they are, None for a file that does not say. `captions`
    and `images` (path, URL or blob key) are in the order of `labels`, and empty where they are
    not known. `refused` says of lines that were left out what is wrong with them, and `doubts`
    what to mind of those that are there.
    """

    labels: Labels
    model: Model | None
    captions: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


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
        if cold_start:
            raise InputRefused("--cold-start is for pairs without labels, decisions are labels")
        decided = read_decisions(settings, model=model, since=since)
        return Source(
            decided.labels,
            decided.model,
            decided.captions,
            decided.images,
            doubts=decided.doubts,
        )
    if since is not None:
        raise InputRefused("--since is for decisions; a file is read as a whole")
    text = _text_of(file)
    if not text.strip():
        raise InputRefused(f"{file} is empty; nothing was done")
    if not is_json(text) or _has_cosines(text):
        if cold_start:
            raise InputRefused("--cold-start needs pairs of image and caption, not cosines")
        return _cosines(file, text, settings, model)
    pairs = read_pairs(file, text, need_labels=not cold_start)
    shuffle = partial(shuffled, seed=seed) if cold_start else None
    return _pairs(file, pairs, settings, model or settings.model, shuffle=shuffle, quiet=quiet)


def _cosines(file: Path, text: str, settings: Settings, model: str | None) -> Source:
    told = read_cosines(file, text)
    return Source(
        told.labels,
        None if model is None else load_identity(model, settings),
        told.captions,
        tuple(_reference(file.parent, image) for image in told.images),
    )


def _pairs(
    file: Path,
    pairs: Sequence[Pair],
    settings: Settings,
    model: str,
    *,
    shuffle: Callable[[Sequence[Pair]], list[Pair]] | None,
    quiet: bool,
) -> Source:
    """Score pairs and, with `shuffle`, those that it makes of the ones that have a score."""
    from moderation.scoring.model import load_model
    from thresholds.scoring import PairScorer, RefusedPair, ScoredPair

    clip = load_model(model, device=settings.device)
    scored: list[ScoredPair] = []
    refused: list[str] = []
    with PairScorer(clip, settings, file) as scorer, progress(quiet) as bar:
        scoring = bar.add_task("pairs scored", total=(2 if shuffle else 1) * len(pairs))

        def score(some: Sequence[Pair]) -> None:
            for result in scorer.score(some):
                if isinstance(result, RefusedPair):
                    refused.append(f"line {result.pair.line}: {result.problem}")
                else:
                    scored.append(result)
                bar.advance(scoring)

        score(pairs)
        if shuffle:
            read = [replace(result.pair, sha256=result.sha256) for result in scored]
            score(shuffle(read) if read else [])
    if not scored:
        raise InputRefused(f"{file}: no line could be scored; {refused[0]}")
    labels = _labels_of(scored)
    images = tuple(result.pair.image for result in scored)
    check_splits(labels, names=images)
    return Source(
        labels,
        NamedModel(clip.spec, clip.weights_sha256, clip.preprocessing_sha256),
        tuple(result.pair.caption for result in scored),
        images,
        tuple(refused),
    )


def _labels_of(scored: "Sequence[ScoredPair]") -> Labels:
    pairs = [result.pair for result in scored]
    return Labels.of(
        np.array([result.cosine for result in scored], dtype=np.float64),
        np.array([pair.is_match for pair in pairs], dtype=np.bool_),
        images=np.array([r.pair.of_image or r.sha256 for r in scored], dtype=np.str_),
        weights=np.array([pair.weight for pair in pairs], dtype=np.float64),
        kinds=np.array([pair.kind for pair in pairs], dtype=np.str_),
        splits=np.array([pair.split for pair in pairs], dtype=np.str_),
    )


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
