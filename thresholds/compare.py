"""Two calibrations on the same labels: which differences are more than chance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moderation.curves import Floats
from moderation.errors import InputRefused
from thresholds.artifact import Artifact, Interval
from thresholds.labels import Labels
from thresholds.rates import precision_at
from thresholds.resampling import Ranking, resampled_weights

FIGURES = ("recall", "false_positive_rate", "precision", "auc")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first calibration's figure less the second's, with its 95 % interval."""

    figure: str
    difference: Interval

    @property
    def is_more_than_chance(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return not self.difference.lower <= 0 <= self.difference.upper


def compare(
    ours: tuple[Labels, Artifact],
    theirs: tuple[Labels, Artifact],
    *,
    prevalence: float,
    on_resample: Callable[[], None] = lambda: None,
) -> list[Difference]:
    """Each calibration at its own threshold, on cosines of its own model for the same pairs.

    Both are resampled together, by image, so that what is hard for either cancels out. Raises
    `InputRefused` for labels of different pairs.
    """
    labels = ours[0]
    if not _are_of_same_pairs(labels, theirs[0]):
        raise InputRefused("the two models were not scored on the same pairs: nothing to compare")
    figures = [_figures(*each, prevalence) for each in (ours, theirs)]
    drawn = []
    for weights in resampled_weights(labels, seed=ours[1].seed):
        drawn.append(figures[0](weights) - figures[1](weights))
        on_resample()
    point = figures[0](labels.weights) - figures[1](labels.weights)
    lower, upper = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return [
        Difference(
            name,
            Interval(point=float(at), lower=min(float(low), at), upper=max(float(high), at)),
        )
        for name, at, low, high in zip(FIGURES, point, lower, upper, strict=True)
    ]


def _are_of_same_pairs(ours: Labels, theirs: Labels) -> bool:
    return np.array_equal(ours.images, theirs.images) and np.array_equal(
        ours.is_match, theirs.is_match
    )


def _figures(labels: Labels, artifact: Artifact, prevalence: float) -> Callable[[Floats], Floats]:
    """A function from weights, (n,), to the figures named above."""
    scores = artifact.curve.scores(labels.cosines)
    flagged, is_match = scores < artifact.threshold, labels.is_match
    ranking = Ranking(scores, labels)

    def figures(weights: Floats) -> Floats:
        recall, wrong = (
            np.average(flagged[rows], weights=weights[rows]) for rows in (~is_match, is_match)
        )
        precision = precision_at(np.array([recall]), np.array([wrong]), prevalence)[0]
        return np.array([recall, wrong, precision, ranking.auc(weights, ~is_match)])

    return figures
