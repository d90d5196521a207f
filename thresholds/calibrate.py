"""From cosines with labels to a calibration artifact."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from moderation.curves import Curve, Floats, Isotonic, Platt
from moderation.errors import InputRefused
from thresholds.artifact import Artifact, Interval, Reference
from thresholds.beta import fit_beta
from thresholds.isotonic import fit_isotonic
from thresholds.labels import Bools, Labels
from thresholds.models import Model
from thresholds.platt import fit_platt
from thresholds.reliability import report_on
from thresholds.splits import Split, check_classes, check_splits, take_split

DEFAULT_THRESHOLD = 0.35

Method = Literal["platt", "beta", "isotonic"]

_FITS: dict[Method, Callable[[Labels], Curve]] = {
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}

# Enough to meet some again in any larger part of the same labels.
_MARKS = 64
_RESAMPLES = 200
_VERSIONED = ("captionguard", "open_clip_torch", "torch", "scikit-learn", "numpy")


def calibrate(
    labels: Labels,
    model: Model,
    *,
    method: Method = "platt",
    threshold: float = DEFAULT_THRESHOLD,
    cold_start: bool = False,
    seed: int = 0,
    on_resampled: Callable[[], object] = lambda: None,
) -> Artifact:
    """Fit on one split of the images and report on another; a third is kept for choosing.

    `on_resampled` is called as the bootstrap behind the intervals goes on.

    Raises `InputRefused` for too few labels (`thresholds.splits` says how many are needed), and
    when matches do not score higher than mismatches.
    """
    check_threshold(threshold)
    check_classes(labels)
    check_splits(labels)
    fitted, held = (take_split(labels, split, seed=seed) for split in (Split.FIT, Split.REPORT))
    curve = fit_curve(fitted, method)
    a, b = _intervals(fitted, curve, seed, on_resampled)
    return Artifact(
        model=model.spec,
        weights_sha256=model.weights_sha256,
        preprocessing_sha256=model.preprocessing_sha256,
        method=method,
        **_parameters(curve),
        threshold=threshold,
        cold_start=cold_start,
        matches=fitted.matches,
        mismatches=fitted.mismatches,
        effective_matches=_effective(fitted, fitted.is_match),
        effective_mismatches=_effective(fitted, ~fitted.is_match),
        data_sha256=hash_of(labels),
        seen=tuple(sorted(marks_of(fitted))[:_MARKS]),
        seed=seed,
        a_interval=a,
        b_interval=b,
        report=report_on(held, curve, threshold=threshold, seed=seed, on_resampled=on_resampled),
        reference=_reference(fitted),
        versions={name: version(name) for name in _VERSIONED},
        created_at=datetime.now(UTC),
    )


def fit_curve(labels: Labels, method: Method) -> Curve:
    """Fit all labels. Raises `InputRefused` when matches do not score higher than mismatches."""
    if fit_platt(labels).a > 0:
        curve = _FITS[method](labels)
        if curve.score(-1.0) < curve.score(1.0):
            return curve
    raise InputRefused(
        "matches do not score higher than mismatches with this model: labels may be swapped, "
        "or the model cannot tell these pairs apart; nothing was done"
    )


def _parameters(curve: Curve) -> dict[str, Any]:
    """The members of an artifact that make up a curve."""
    if isinstance(curve, Isotonic):
        return {"knots": tuple(zip(curve.cosines, curve.match_scores, strict=True))}
    return asdict(curve)


def check_threshold(threshold: float) -> None:
    """Raise `InputRefused` unless a threshold lies between 0 and 1."""
    if not 0 < threshold < 1:
        raise InputRefused(f"the threshold must lie between 0 and 1, is {threshold}")


def hash_of(labels: Labels) -> str:
    """SHA-256 of labels as they are, in their order."""
    digest = hashlib.sha256()
    for part in (labels.cosines, labels.is_match, labels.weights):
        digest.update(part.tobytes())
    for names in (labels.images, labels.kinds, labels.splits):
        digest.update("\0".join(names.tolist()).encode())
    return digest.hexdigest()


def marks_of(labels: Labels) -> set[str]:
    """What tells each pair from others, also where it stands among other pairs.

    The cosine is rounded: scored once more in another batch, its last digits differ.
    """
    pairs = zip(labels.images, labels.is_match, labels.cosines, strict=True)
    return {
        hashlib.sha256(f"{image}\0{is_match}\0{cosine:.4f}".encode()).hexdigest()[:16]
        for image, is_match, cosine in pairs
    }


def _effective(labels: Labels, rows: Bools) -> float | None:
    effective = labels.effective(rows)
    # Equal weights, but for rounding, make every pair count in full.
    return effective if effective < (1 - 1e-9) * rows.sum() else None


def _reference(labels: Labels) -> Reference:
    at = np.linspace(0, 1, 101)
    matched, mismatched = (
        tuple(_quantiles(labels.take(rows), at).tolist())
        for rows in (labels.is_match, ~labels.is_match)
    )
    return Reference(match_quantiles=matched, mismatch_quantiles=mismatched)


def _quantiles(labels: Labels, at: Floats) -> Floats:
    """Weighted quantiles of cosines, the smallest that have a share of `at` below or at them."""
    quantiles: Floats = np.quantile(
        labels.cosines, at, weights=labels.weights, method="inverted_cdf"
    )
    return quantiles


def _intervals(
    labels: Labels, curve: Curve, seed: int, on_resampled: Callable[[], object]
) -> tuple[Interval | None, Interval | None]:
    """95 % bootstrap intervals of a and b, resampling images; none for a curve of knots."""
    if isinstance(curve, Isotonic):
        return None, None
    fit = fit_platt if isinstance(curve, Platt) else fit_beta
    rng = np.random.default_rng(seed)
    images = labels.image_numbers()
    fits = []
    for _ in range(_RESAMPLES):
        sample = labels.resampled(rng, images)
        if sample.matches and sample.mismatches:
            again = fit(sample)
            fits.append((again.a, again.b))
        on_resampled()
    lower, upper = np.quantile(np.array(fits), [0.025, 0.975], axis=0)
    return (
        Interval(point=curve.a, lower=float(lower[0]), upper=float(upper[0])),
        Interval(point=curve.b, lower=float(lower[1]), upper=float(upper[1])),
    )
