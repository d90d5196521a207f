"""Isotonic calibration: whatever shape never falls, for those who have the labels for it."""

from sklearn.isotonic import IsotonicRegression

from moderation.curves import Isotonic
from moderation.errors import InputRefused
from thresholds.labels import Labels

# Below some thousands of labels it fits noise: with 100 its log loss was 0.35 against 0.22.
MIN_ISOTONIC_LABELS = 1000

# The share that a thousand labels can still tell from none; a score of 0 would have no logit,
# and so no posterior at another prevalence.
_EDGE = 1 / MIN_ISOTONIC_LABELS


def fit_isotonic(labels: Labels) -> Isotonic:
    """Fit by least squares with both classes weighing the same (Zadrozny and Elkan, 2002).

    Match scores are kept between 0.001 and 0.999. Raises `InputRefused` below 1,000 labels of
    a class.
    """
    for has, name in ((labels.matches, "matches"), (labels.mismatches, "mismatches")):
        if has < MIN_ISOTONIC_LABELS:
            raise InputRefused(
                f"isotonic needs {MIN_ISOTONIC_LABELS:,} {name} to fit on, has {has:,}, so "
                f"{MIN_ISOTONIC_LABELS - has:,} missing; with fewer it fits noise. Take "
                "platt or beta; nothing was done"
            )
    fitted = IsotonicRegression(y_min=_EDGE, y_max=1 - _EDGE, out_of_bounds="clip").fit(
        labels.cosines, labels.is_match, sample_weight=labels.class_weights()
    )
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))
