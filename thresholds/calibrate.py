"""From cosines with labels to a calibration artifact."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from moderation.errors import InputRefused
from thresholds.artifact import Artifact, Interval, Reference
from thresholds.labels import Labels
from thresholds.models import Model
from thresholds.platt import fit_platt
from thresholds.reliability import report_on
from thresholds.splits import Split, check_classes, take_split

DEFAULT_THRESHOLD = 0.35

_RESAMPLES = 200
_VERSIONED = ("captionguard", "open_clip_torch", "torch", "scikit-learn", "numpy")


def calibrate(
    labels: Labels,
    model: Model,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    cold_start: bool = False,
    seed: int = 0,
) -> Artifact:
    """Fit on one split of the images and report on another; a third is kept for choosing.

    Raises `InputRefused` for fewer than 30 of a class in either part, and when matches do
    not score higher than mismatches.
    """
    check_threshold(threshold)
    check_classes(labels)
    fitted, held = (take_split(labels, split, seed=seed) for split in (Split.FIT, Split.REPORT))
    platt = fit_platt(fitted)
    if platt.a <= 0:
        raise InputRefused(
            "matches do not score higher than mismatches with this model: labels may be swapped, "
            "or the model cannot tell these pairs apart"
        )
    a, b = _intervals(fitted, platt.a, platt.b, seed)
    return Artifact(
        model=model.spec,
        weights_sha256=model.weights_sha256,
        preprocessing_sha256=model.preprocessing_sha256,
        a=platt.a,
        b=platt.b,
        threshold=threshold,
        cold_start=cold_start,
        matches=fitted.matches,
        mismatches=fitted.mismatches,
        data_sha256=hash_of(labels),
        seed=seed,
        a_interval=a,
        b_interval=b,
        report=report_on(held, platt, threshold=threshold, seed=seed),
        reference=_reference(fitted),
        versions={name: version(name) for name in _VERSIONED},
        created_at=datetime.now(UTC),
    )


def check_threshold(threshold: float) -> None:
    """Raise `InputRefused` unless a threshold lies between 0 and 1."""
    if not 0 < threshold < 1:
        raise InputRefused(f"the threshold must lie between 0 and 1, is {threshold}")


def hash_of(labels: Labels) -> str:
    """SHA-256 of labels as they are, in their order."""
    digest = hashlib.sha256()
    for part in (labels.cosines, labels.is_match, labels.weights):
        digest.update(part.tobytes())
    for names in (labels.images, labels.kinds):
        digest.update("\0".join(names.tolist()).encode())
    return digest.hexdigest()


def _reference(labels: Labels) -> Reference:
    at = np.linspace(0, 1, 101)
    matched, mismatched = (
        tuple(np.quantile(labels.cosines[rows], at).tolist())
        for rows in (labels.is_match, ~labels.is_match)
    )
    return Reference(match_quantiles=matched, mismatch_quantiles=mismatched)


def _intervals(labels: Labels, a: float, b: float, seed: int) -> tuple[Interval, Interval]:
    """95 % bootstrap intervals of slope and intercept, resampling images."""
    rng = np.random.default_rng(seed)
    _, image_of = np.unique(labels.images, return_inverse=True)
    members = [np.flatnonzero(image_of == image) for image in range(image_of.max() + 1)]
    fits = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        resampled = labels.take(chosen)
        if resampled.matches and resampled.mismatches:
            fit = fit_platt(resampled)
            fits.append((fit.a, fit.b))
    lower, upper = np.quantile(np.array(fits), [0.025, 0.975], axis=0)
    return (
        Interval(point=a, lower=float(lower[0]), upper=float(upper[0])),
        Interval(point=b, lower=float(lower[1]), upper=float(upper[1])),
    )
