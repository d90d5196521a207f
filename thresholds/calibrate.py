"""From cosines with labels to a calibration artifact."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from moderation.errors import InputRefused
from thresholds.artifact import Artifact, Interval
from thresholds.labels import Labels
from thresholds.platt import fit_platt
from thresholds.reliability import report_on

if TYPE_CHECKING:
    from moderation.scoring.model import ClipModel

DEFAULT_THRESHOLD = 0.35
MIN_LABELS = 30

_HELD_OUT_SHARE = 0.4
_RESAMPLES = 200
_VERSIONED = ("captionguard", "open_clip_torch", "torch", "scikit-learn", "numpy")


def calibrate(
    labels: Labels,
    model: "ClipModel",
    *,
    threshold: float = DEFAULT_THRESHOLD,
    cold_start: bool = False,
    seed: int = 0,
) -> Artifact:
    """Fit on three fifths of the images and report on the others.

    Raises `InputRefused` for fewer than 30 of a class in either part, for cosines that
    are no numbers, and when matches do not score higher than mismatches.
    """
    _check(labels, threshold)
    splitter = GroupShuffleSplit(n_splits=1, test_size=_HELD_OUT_SHARE, random_state=seed)
    fit_rows, held_rows = next(splitter.split(labels.cosines, groups=labels.groups))
    for rows, part in ((fit_rows, "fitting"), (held_rows, "the report")):
        _check_classes(labels.is_match[rows], part)
    cosines, is_match = labels.cosines[fit_rows], labels.is_match[fit_rows]
    platt = fit_platt(cosines, is_match)
    if platt.a <= 0:
        raise InputRefused(
            "matches do not score higher than mismatches with this model: labels may be swapped, "
            "or the model cannot tell these pairs apart"
        )
    a, b = _intervals(labels, fit_rows, platt.a, platt.b, seed)
    held_scores = platt.scores(labels.cosines[held_rows])
    return Artifact(
        model=model.spec,
        weights_sha256=model.weights_sha256,
        preprocessing_sha256=model.preprocessing_sha256,
        a=platt.a,
        b=platt.b,
        threshold=threshold,
        cold_start=cold_start,
        matches=int(is_match.sum()),
        mismatches=int((~is_match).sum()),
        data_sha256=_hash(labels),
        a_interval=a,
        b_interval=b,
        report=report_on(
            held_scores,
            labels.is_match[held_rows],
            labels.groups[held_rows],
            threshold=threshold,
            seed=seed,
        ),
        versions={name: version(name) for name in _VERSIONED},
        created_at=datetime.now(UTC),
    )


def _check(labels: Labels, threshold: float) -> None:
    if not 0 < threshold < 1:
        raise InputRefused(f"the threshold must lie between 0 and 1, is {threshold}")
    if not np.isfinite(labels.cosines).all():
        raise InputRefused("some cosines are no finite numbers; nothing was fitted")
    if len(np.unique(labels.groups)) < 2:
        raise InputRefused("fitting and the report need different images; label pairs of more")
    _check_classes(labels.is_match, "fitting and the report together")


def _check_classes(is_match: "np.typing.NDArray[np.bool_]", part: str) -> None:
    for count, name in ((int(is_match.sum()), "matches"), (int((~is_match).sum()), "mismatches")):
        if count < MIN_LABELS:
            raise InputRefused(
                f"{part} needs at least {MIN_LABELS} {name}, has {count}; label more pairs, of "
                "more images"
            )


def _intervals(
    labels: Labels, rows: "np.typing.NDArray[np.int64]", a: float, b: float, seed: int
) -> tuple[Interval, Interval]:
    """95 % bootstrap intervals of slope and intercept, resampling images."""
    rng = np.random.default_rng(seed)
    groups = labels.groups[rows]
    members = [rows[groups == group] for group in np.unique(groups)]
    fits = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        is_match = labels.is_match[chosen]
        if 0 < is_match.sum() < len(chosen):
            fit = fit_platt(labels.cosines[chosen], is_match)
            fits.append((fit.a, fit.b))
    lower, upper = np.quantile(np.array(fits), [0.025, 0.975], axis=0)
    return (
        Interval(point=a, lower=float(lower[0]), upper=float(upper[0])),
        Interval(point=b, lower=float(lower[1]), upper=float(upper[1])),
    )


def _hash(labels: Labels) -> str:
    digest = hashlib.sha256()
    for part in (labels.cosines, labels.is_match, labels.groups):
        digest.update(part.tobytes())
    return digest.hexdigest()
