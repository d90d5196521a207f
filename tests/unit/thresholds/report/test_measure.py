"""The figures of a report against scikit-learn's and against plain counting."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, precision_score, recall_score, roc_auc_score

from moderation.errors import InputRefused
from tests.unit.thresholds.report.labels import make_artifact, make_figures, make_labels
from thresholds.report.figures import Figures
from thresholds.report.measure import cosine_at, measure


def _measure(prevalence: float | None = 0.1, **options: float) -> Figures:
    return measure(make_labels(), make_artifact(), name="x", prevalence=prevalence, **options)


@pytest.mark.parametrize("prevalence", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_is_that_of_scikit_learn(prevalence: float, ties: bool) -> None:
    """Each point, thinned or not, is one of `precision_recall_curve` at the prevalence."""
    labels, artifact = make_labels(ties=ties), make_artifact()
    figures = measure(labels, artifact, name="x", prevalence=prevalence)
    precision, recall, _ = precision_recall_curve(
        ~labels.is_match,
        -artifact.curve.scores(labels.cosines),
        sample_weight=labels.class_weights(prevalence=prevalence),
    )
    theirs = np.column_stack([recall, precision])
    points = [point for point in figures.curve if point.precision is not None]
    assert len(points) > 20
    for point in points:
        apart = np.abs(theirs - [point.recall, point.precision]).max(axis=1)
        assert apart.min() < 1e-9
    if ties:
        # Nothing was thinned: all of theirs are there, but the one of no flags.
        assert len(points) == len(theirs) - 1


def test_a_point_of_the_curve_is_what_its_threshold_does() -> None:
    """Flagging what scores below a point's threshold gives its recall, rate and reviews."""
    labels, artifact = make_labels(), make_artifact()
    scores = artifact.curve.scores(labels.cosines)
    for point in (*_measure().curve[::17], *_measure().alternatives):
        flagged = scores < point.threshold
        assert point.recall == pytest.approx(flagged[~labels.is_match].mean())
        assert point.false_positive_rate == pytest.approx(flagged[labels.is_match].mean())
        reviews = 100 * point.recall + 900 * point.false_positive_rate
        assert point.reviews == pytest.approx(reviews)


def test_the_operating_point_is_that_of_scikit_learn() -> None:
    """Recall, precision and AUC at the threshold equal scikit-learn's; intervals hold them."""
    labels, artifact = make_labels(), make_artifact(threshold=0.5)
    figures = measure(labels, artifact, name="x", prevalence=0.2)
    at = figures.operating_point
    scores = artifact.curve.scores(labels.cosines)
    weights = labels.class_weights(prevalence=0.2)
    says, truth = scores < 0.5, ~labels.is_match
    assert at.recall.point == pytest.approx(recall_score(truth, says))
    assert at.precision is not None
    assert at.precision.point == pytest.approx(precision_score(truth, says, sample_weight=weights))
    assert at.accuracy.point == pytest.approx(np.average(says == truth, weights=weights))
    assert figures.auc.point == pytest.approx(roc_auc_score(labels.is_match, scores))
    assert at.reviews.point == pytest.approx(1000 * weights[says].sum())
    for interval in (at.recall, at.precision, at.accuracy, at.reviews, figures.auc):
        assert interval.lower < interval.point < interval.upper


def test_the_groups_are_those_of_scikit_learn() -> None:
    """Of balanced labels the groups equal `calibration_curve` with quantiles, and so the error."""
    labels, artifact = make_labels(), make_artifact()
    reliability = _measure().reliability
    truth, said = calibration_curve(
        labels.is_match, artifact.curve.scores(labels.cosines), n_bins=10, strategy="quantile"
    )
    groups = reliability.groups
    assert [group.n for group in groups] == [60] * 10
    assert [group.score for group in groups] == pytest.approx(said.tolist())
    assert [group.matches.point for group in groups] == pytest.approx(truth.tolist())
    error = reliability.expected_calibration_error.point
    assert error == pytest.approx(np.abs(truth - said).mean())


def test_the_histogram_counts_each_pair_on_its_side_of_the_threshold() -> None:
    """Each class sums to 1, and what lies below the threshold's edge is what is flagged."""
    figures = _measure()
    histogram, at = figures.histogram, figures.operating_point
    edge = int(np.argmin(np.abs(np.array(histogram.cosine_edges) - at.cosine)))
    assert histogram.cosine_edges[edge] == pytest.approx(at.cosine)
    assert sum(histogram.matches) == pytest.approx(1)
    assert sum(histogram.mismatches) == pytest.approx(1)
    assert sum(histogram.mismatches[:edge]) == pytest.approx(at.recall.point)
    assert sum(histogram.matches[:edge]) == pytest.approx(at.false_positive_rate.point)
    assert sum(figures.score_counts) == figures.labels.n == 600


@pytest.mark.parametrize("threshold", [0.001, 0.35, 0.999])
def test_the_cosine_of_the_threshold_is_where_flags_end(threshold: float) -> None:
    """Just below it the score is under the threshold, and from it on it is not."""
    curve = make_artifact().curve
    cosine = cosine_at(curve, threshold)
    assert curve.score(cosine) >= threshold > curve.score(cosine - 1e-9)


def test_the_worst_mistakes_come_first() -> None:
    """They are on the wrong side, in order, twelve at most, and named by their row of all."""
    labels, artifact = make_labels(gap=0.05), make_artifact()
    # Half of the labels are of another split, so rows of the report are not those of the file.
    splits = np.where(np.arange(len(labels)) % 4 < 2, "report", "fit")
    figures = measure(replace(labels, splits=splits), artifact, name="x", prevalence=0.1)
    scores = artifact.curve.scores(labels.cosines)
    is_held = splits == "report"
    flagged = sorted(scores[is_held & labels.is_match & (scores < 0.35)])
    passed = sorted(scores[is_held & ~labels.is_match & (scores >= 0.35)], reverse=True)
    assert (figures.matches_flagged, figures.mismatches_passed) == (len(flagged), len(passed))
    assert [mistake.score for mistake in figures.flagged_matches] == flagged[:12]
    assert [mistake.score for mistake in figures.passed_mismatches] == passed[:12]
    for mistake in (*figures.flagged_matches, *figures.passed_mismatches):
        assert labels.cosines[mistake.row] == mistake.cosine
        assert labels.kinds[mistake.row] == mistake.kind
        assert is_held[mistake.row]


def test_the_prevalence_is_given_or_chosen_for_or_that_of_the_labels() -> None:
    """What is given counts first, then what the threshold was chosen for; each says which."""
    labels = make_labels()
    told = [
        (figures.prevalence, figures.prevalence_source)
        for figures in (
            measure(labels, make_artifact(prevalence=0.03), name="x", prevalence=0.2),
            measure(labels, make_artifact(prevalence=0.03), name="x"),
            measure(labels, make_artifact(), name="x"),
        )
    ]
    assert told == [(0.2, "given"), (0.03, "choice"), (0.5, "labels")]


def test_prevalence_moves_precision_and_reviews_only() -> None:
    """Recall and false-positive rate are the same at any prevalence; reviews follow traffic."""
    rare, frequent = _measure(0.01), _measure(0.5, traffic_per_day=50_000)
    assert rare.operating_point.recall == frequent.operating_point.recall
    assert rare.operating_point.false_positive_rate == frequent.operating_point.false_positive_rate
    assert rare.operating_point.precision.point < frequent.operating_point.precision.point
    assert (rare.posts, frequent.posts) == (1000, 50_000)
    at = frequent.operating_point
    flagged = (at.recall.point + at.false_positive_rate.point) / 2
    assert at.reviews.point == pytest.approx(50_000 * flagged)
    assert [row.prevalence for row in rare.precision_by_prevalence] == [0.01, 0.05, 0.1, 0.2, 0.5]
    assert rare.precision_by_prevalence[0].precision == rare.operating_point.precision


def test_a_weight_of_two_counts_like_two_pairs() -> None:
    """Weighted labels give the figures of labels in which pairs are written out."""
    labels = make_labels(200)
    twice = np.arange(200) % 5 == 0
    weighted = measure(
        replace(labels, weights=np.where(twice, 2.0, 1.0)),
        make_artifact(),
        name="x",
        prevalence=0.1,
    )
    rows = np.concatenate([np.arange(200), np.flatnonzero(twice)])
    written = measure(labels.take(rows), make_artifact(), name="x", prevalence=0.1)
    assert weighted.is_weighted
    assert not written.is_weighted
    assert weighted.auc.point == pytest.approx(written.auc.point)
    for name in ("recall", "false_positive_rate", "precision", "reviews"):
        one, other = (getattr(f.operating_point, name).point for f in (weighted, written))
        assert one == pytest.approx(other)
    assert weighted.histogram.matches == pytest.approx(written.histogram.matches)


def test_a_threshold_that_flags_nothing_has_no_precision() -> None:
    """Without flags none can be right: precision is None, not 0 and not 1."""
    labels = make_labels()
    figures = measure(labels, make_artifact(threshold=1e-9), name="x", prevalence=0.1)
    assert figures.operating_point.precision is None
    assert figures.operating_point.reviews.point == 0
    assert figures.mismatches_passed == 300


def test_only_what_is_set_aside_is_reported_on() -> None:
    """Pairs to fit and to choose on are in no figure; too few of a class are refused."""
    labels = make_labels()
    splits = np.where(np.arange(600) < 400, "report", "choose")
    part = measure(replace(labels, splits=splits), make_artifact(), name="x", prevalence=0.1)
    assert (part.labels.n, part.labels_in_all.n) == (400, 600)
    whole = measure(labels.take(np.arange(400)), make_artifact(), name="x", prevalence=0.1)
    assert part.operating_point == whole.operating_point
    few = np.where(np.arange(600) < 590, "fit", "report")
    with pytest.raises(InputRefused, match="only 5 matches"):
        measure(replace(labels, splits=few), make_artifact(), name="x", prevalence=0.1)


def test_kinds_have_their_own_figures() -> None:
    """Counts and shares of each kind are those of its pairs."""
    labels, figures = make_labels(), make_figures()
    scores = make_artifact().curve.scores(labels.cosines)
    assert {(kind.kind, kind.is_match) for kind in figures.kinds} == {
        ("own", True),
        ("random", False),
        ("negation", False),
        ("count", False),
    }
    for kind in figures.kinds:
        rows = labels.kinds == kind.kind
        assert kind.n == rows.sum()
        assert kind.flagged.point == pytest.approx((scores[rows] < 0.35).mean())
        if not kind.is_match:
            both = rows | labels.is_match
            auc = roc_auc_score(labels.is_match[both], scores[both])
            assert kind.auc.point == pytest.approx(auc)
