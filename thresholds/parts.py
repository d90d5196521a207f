"""Which labels a threshold is chosen on and which it is reported on, given a calibration."""

from dataclasses import dataclass

from moderation.errors import InputRefused
from thresholds.artifact import Artifact
from thresholds.calibrate import hash_of, marks_of
from thresholds.labels import Labels
from thresholds.splits import Split, check_classes, rows_of, take_split

# Pairs of files that name no images may agree in row and cosine by chance, so many hardly ever.
_MET_BY_CHANCE = 3


@dataclass(frozen=True, slots=True)
class Parts:
    """Labels to choose on and labels to report on, which share no image."""

    choosing: Labels
    reporting: Labels


def parts_of(labels: Labels, artifact: Artifact, *, fresh: bool) -> Parts:
    """Divide labels by image, with the calibration's seed.

    Images that it was fitted on are left out, unless all labels are `fresh`: then those are
    chosen on as well. Raises `InputRefused` for too few labels, and for fresh ones that are not.
    """
    check_classes(labels)
    if fresh:
        check_fresh(labels, artifact)
    choosing = take_split(labels, Split.CHOOSE, seed=artifact.seed)
    if fresh:
        choosing = labels.take(~rows_of(labels, Split.REPORT, seed=artifact.seed))
    return Parts(choosing, take_split(labels, Split.REPORT, seed=artifact.seed))


def check_fresh(labels: Labels, artifact: Artifact) -> None:
    """Raise `InputRefused` for labels that the calibration or its threshold was made from."""
    if artifact.choice and artifact.choice.data_sha256 == hash_of(labels):
        raise _not_fresh(artifact, "chosen")
    met = marks_of(labels).intersection(artifact.seen)
    if artifact.data_sha256 == hash_of(labels) or len(met) >= _MET_BY_CHANCE:
        raise _not_fresh(artifact, "fitted")


def _not_fresh(artifact: Artifact, what: str) -> InputRefused:
    return InputRefused(
        f"these labels are not fresh: {artifact.version} was {what} on some of them. "
        "Without --fresh those are left out"
    )
