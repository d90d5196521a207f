"""Labels that one calibration, or each of two, has not seen, with cosines of its own model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moderation.errors import InputRefused
from moderation.settings import Settings
from thresholds.artifact import Artifact
from thresholds.labels import Bools, Labels
from thresholds.parts import check_fresh
from thresholds.reading import Read, read_for
from thresholds.sources import Source
from thresholds.splits import MIN_IN_SPLIT, Split, check_classes, rows_of


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Labels of the same pairs for each calibration, and where the first one's come from."""

    labels: tuple[Labels, ...]
    source: Source


def read_held_out(
    calibrations: Sequence[tuple[Path, Artifact]], settings: Settings, read: Read, *, fresh: bool
) -> HeldOut:
    """Read labels for the calibration at each path: what they report on, or all if `fresh`.

    Where two calibrations divide images differently, only what both report on. Raises
    `InputRefused` for fresh labels that are not, too few that are unseen, and two models with
    cosines of one.
    """
    sources: dict[str, Source] = {}
    for path, artifact in calibrations:
        # Labels of a model serve all of its calibrations.
        if artifact.fingerprint not in sources:
            sources[artifact.fingerprint] = read_for(artifact, path, settings, read)
    if len(sources) > 1 and any(source.model is None for source in sources.values()):
        raise InputRefused(
            "the calibrations are of two models, but the file has cosines of one; compare them on "
            "a file of images and captions, or calibrations of the same model on this one"
        )
    artifacts = [artifact for _, artifact in calibrations]
    labels = [sources[artifact.fingerprint].labels for artifact in artifacts]
    rows = unseen(labels[0], artifacts, fresh=fresh)
    if any(len(each) != len(rows) for each in labels):
        raise InputRefused("the two models could not score the same pairs: nothing to compare")
    first = next(iter(sources.values()))
    return HeldOut(tuple(each.take(rows) for each in labels), first)


def unseen(labels: Labels, artifacts: Sequence[Artifact], *, fresh: bool) -> Bools:
    """Which labels, (n,), none of the calibrations has seen. Raises `InputRefused` for too few."""
    check_classes(labels)
    rows = np.ones(len(labels), dtype=np.bool_)
    for artifact in artifacts:
        if fresh:
            check_fresh(labels, artifact)
        else:
            rows &= rows_of(labels, Split.REPORT, seed=artifact.seed)
    least = MIN_IN_SPLIT[Split.REPORT]
    kept = labels.take(rows)
    for has, name in ((kept.matches, "matches"), (kept.mismatches, "mismatches")):
        if has < least:
            raise InputRefused(
                f"only {has} {name} are of images set aside for reporting, {least} are needed; "
                "label more, or use --fresh if none of these images was calibrated with"
            )
    return rows
