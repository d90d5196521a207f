"""The threshold that is chosen is what was asked for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, precision_score, recall_score

from moderation.curves import Floats
from moderation.errors import InputRefused
from thresholds.artifact import Artifact
from thresholds.calibrate import DEFAULT_THRESHOLD, calibrate, hash_of
from thresholds.choose import Chosen, candidates_on, choose, reviews_a_day, with_choice
from thresholds.labels import Labels
from thresholds.models import NamedModel
from thresholds.parts import parts_of
from thresholds.splits import Split, split_of
from thresholds.targets import Target

MODEL = NamedModel("some:model", "a1" * 32, "b2" * 32)
SHARES = st.floats(0.01, 0.99)


def _labels(n_images: int = 400, *, seed: int = 0, apart: float = 0.14) -> Labels:
    """Make a match and a mismatch of each image."""
    rng = np.random.default_rng(seed)
    is_match = np.arange(2 * n_images) % 2 == 0
    return Labels.of(
        rng.normal(np.where(is_match, 0.18 + apart, 0.18), 0.06),
        is_match,
        images=(np.arange(2 * n_images) // 2).astype(np.str_),
    )


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    """Calibrate once for all tests; what intervals it has is nothing to them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 10)
        monkeypatch.setattr("thresholds.reliability._RESAMPLES", 10)
        return calibrate(_labels(), MODEL)


def _choose(
    artifact: Artifact, target: Target, *, confidence: float | None = None, **kind: float
) -> Chosen:
    labels = _labels(**kind)  # type: ignore[arg-type]
    parts = parts_of(labels, artifact, fresh=False)
    return choose(labels, parts, artifact, target, confidence=confidence)


def _choosing(artifact: Artifact) -> tuple[Labels, Floats]:
    labels = parts_of(_labels(), artifact, fresh=False).choosing
    return labels, artifact.curve.scores(labels.cosines)


@pytest.mark.parametrize("precision_min", [0.5, 0.9, 0.97, 0.99])
def test_the_highest_recall_is_that_of_scikit_learns_curve(
    artifact: Artifact, precision_min: float
) -> None:
    """At the labels' own prevalence, no point of the curve at that precision has more recall."""
    labels, scores = _choosing(artifact)
    precision, recall, _ = precision_recall_curve(~labels.is_match, -scores)
    own = labels.mismatches / len(labels)
    chosen = _choose(artifact, Target(own, precision_min=precision_min))
    assert chosen.best is not None
    flagged = scores < chosen.best
    assert precision_score(~labels.is_match, flagged) >= precision_min
    assert recall_score(~labels.is_match, flagged) == pytest.approx(
        recall[precision >= precision_min].max()
    )


@pytest.mark.parametrize("recall_min", [0.5, 0.9, 0.97, 0.999])
def test_the_highest_precision_is_that_of_scikit_learns_curve(
    artifact: Artifact, recall_min: float
) -> None:
    """At the labels' own prevalence, no point of the curve at that recall is more precise."""
    labels, scores = _choosing(artifact)
    precision, recall, _ = precision_recall_curve(~labels.is_match, -scores)
    chosen = _choose(artifact, Target(labels.mismatches / len(labels), recall_min=recall_min))
    assert chosen.best is not None
    flagged = scores < chosen.best
    assert recall_score(~labels.is_match, flagged) >= recall_min
    assert precision_score(~labels.is_match, flagged) == pytest.approx(
        precision[recall >= recall_min].max()
    )


def test_a_capacity_is_used_up_but_not_exceeded(artifact: Artifact) -> None:
    """One more mismatch flagged would be more than a day's reviews, at the stated prevalence."""
    labels, scores = _choosing(artifact)
    target = Target(0.02, flags_max=0.01)

    def flags(threshold: float) -> float:
        flagged = scores < threshold
        return 0.02 * flagged[~labels.is_match].mean() + 0.98 * flagged[labels.is_match].mean()

    chosen = _choose(artifact, target)
    assert chosen.best is not None
    assert flags(chosen.best) <= 0.01
    above = np.sort(scores[~labels.is_match & (scores >= chosen.best)])
    assert flags(float(above[0]) + 1e-9) > 0.01


def test_the_standard_threshold_stays_where_it_is_enough(artifact: Artifact) -> None:
    """0.35 is kept for a modest target, although another threshold has more recall."""
    chosen = _choose(artifact, Target(0.5, precision_min=0.6))
    assert chosen.keeps_default
    assert chosen.threshold == DEFAULT_THRESHOLD == 0.35
    assert chosen.best is not None
    assert chosen.best > 0.35


@pytest.mark.parametrize(
    "target", [Target(0.5, recall_min=0.97), Target(0.05, 0.9), Target(0.02, flags_max=0.01)]
)
def test_the_standard_threshold_goes_where_it_is_not(artifact: Artifact, target: Target) -> None:
    """Where 0.35 does not reach the target, another one does."""
    chosen = _choose(artifact, target)
    assert not chosen.keeps_default
    assert chosen.threshold == chosen.best is not None


@settings(max_examples=60, deadline=None)
@given(SHARES, SHARES, st.floats(0, 0.3), st.none() | SHARES)
def test_more_precision_never_means_more_recall(
    artifact: Artifact, prevalence: float, precision: float, more: float, recall: float | None
) -> None:
    """Raising the least precision finds no threshold with a higher recall."""
    assume(precision + more < 1)
    labels, scores = _choosing(artifact)
    recalls = []
    for least in (precision, precision + more):
        best = _choose(artifact, Target(prevalence, least, recall)).best
        recalls.append(0.0 if best is None else (scores < best)[~labels.is_match].mean())
    assert recalls[1] <= recalls[0]


@settings(max_examples=60, deadline=None)
@given(SHARES, st.none() | SHARES, st.none() | SHARES, st.none() | SHARES, st.booleans())
def test_what_is_chosen_reaches_the_target(
    artifact: Artifact,
    prevalence: float,
    precision: float | None,
    recall: float | None,
    flags: float | None,
    guaranteed: bool,
) -> None:
    """On the labels chosen on; a guarantee never lets a threshold be bolder than without."""
    assume((flags is None) is not (precision is None and recall is None))
    target = Target(prevalence, precision, recall, flags)
    confidence = 0.9 if guaranteed else None
    chosen = _choose(artifact, target, confidence=confidence)
    assert (chosen.threshold is None) is (chosen.rates is None)
    if chosen.threshold is not None:
        labels, scores = _choosing(artifact)
        flagged = scores < chosen.threshold
        rates = [np.array([flagged[of].mean()]) for of in (~labels.is_match, labels.is_match)]
        assert target.is_met(*rates)[0]


@given(st.lists(st.sampled_from([0.0, 1e-300, 0.1, 0.35, 0.5, 1 - 2**-53, 1.0]), min_size=1))
def test_every_set_that_can_be_flagged_is_a_candidate(values: list[float]) -> None:
    """Scores at the ends, equal ones and neighbouring numbers are told apart all the same."""
    scores = np.array([*values, 0.2, 0.6])
    labels = Labels.of(np.zeros(len(scores)), np.arange(len(scores)) % 2 == 0)
    thresholds = candidates_on(labels, scores).thresholds
    assert ((thresholds > 0) & (thresholds < 1)).all()
    sets = {tuple((scores < threshold).tolist()) for threshold in thresholds}
    for threshold in [*scores, np.nextafter(1.0, 0)]:
        if 0 < threshold < 1:
            assert tuple((scores < threshold).tolist()) in sets


def test_a_target_that_nothing_reaches_is_not_reached(artifact: Artifact) -> None:
    """No threshold, no figures, and no number of labels that would help."""
    chosen = _choose(artifact, Target(0.001, 0.99, 0.99))
    assert (chosen.threshold, chosen.rates, chosen.missing) == (None, None, None)


def test_figures_are_of_images_that_it_was_not_chosen_on(artifact: Artifact) -> None:
    """The parts share no image, and the recall told is that of the part to report on."""
    labels = _labels()
    parts = parts_of(labels, artifact, fresh=False)
    assert not set(parts.choosing.images) & set(parts.reporting.images)
    for part, split in ((parts.choosing, Split.CHOOSE), (parts.reporting, Split.REPORT)):
        assert {split_of(str(image)) for image in part.images} == {split}
    chosen = choose(labels, parts, artifact, Target(0.1, recall_min=0.9))
    assert chosen.threshold is not None
    assert chosen.rates is not None
    flagged = artifact.curve.scores(parts.reporting.cosines) < chosen.threshold
    recall = recall_score(~parts.reporting.is_match, flagged)
    assert chosen.rates.recall.point == pytest.approx(recall)


def test_fresh_labels_are_all_used(artifact: Artifact) -> None:
    """Images that were not calibrated with are chosen on as well; the same labels are refused."""
    labels = _labels(seed=1)
    parts = parts_of(labels, artifact, fresh=True)
    assert len(parts.choosing) + len(parts.reporting) == len(labels)
    assert len(parts.choosing) > len(parts_of(labels, artifact, fresh=False).choosing)
    assert not set(parts.choosing.images) & set(parts.reporting.images)
    with pytest.raises(InputRefused, match="not fresh"):
        parts_of(_labels(), artifact, fresh=True)


def test_a_part_of_the_fitted_labels_is_not_fresh(artifact: Artifact) -> None:
    """Neither other labels beside them nor another order hide that it was fitted on some."""
    labels, others = _labels(), _labels(seed=1)
    rng = np.random.default_rng(0)
    some = labels.take(rng.permutation(len(labels))[: len(labels) // 2])
    mixed = Labels.of(
        np.concatenate([some.cosines, others.cosines]),
        np.concatenate([some.is_match, others.is_match]),
        images=np.concatenate([some.images, others.images]),
    )
    for seen in (some, mixed):
        with pytest.raises(InputRefused, match="was fitted on"):
            parts_of(seen, artifact, fresh=True)


def test_the_new_calibration_says_why(artifact: Artifact) -> None:
    """Threshold, target, prevalence and figures are in it, and its report is of it."""
    labels = _labels(seed=1)
    parts = parts_of(labels, artifact, fresh=True)
    chosen = choose(labels, parts, artifact, Target(0.1, recall_min=0.9), confidence=0.9)
    new = with_choice(artifact, chosen, labels, parts)
    assert new.threshold == chosen.threshold != artifact.threshold
    assert new.choice is not None
    assert chosen.rates is not None
    assert (new.choice.target, new.choice.prevalence) == ("recall >= 0.9", 0.1)
    assert (new.choice.confidence, new.choice.recall) == (0.9, chosen.rates.recall)
    assert new.choice.data_sha256 == hash_of(labels) != new.data_sha256
    assert new.report.n == len(parts.reporting)
    assert new.report.recall.point == pytest.approx(chosen.rates.recall.point)
    assert (new.a, new.b, new.fingerprint) == (artifact.a, artifact.b, artifact.fingerprint)
    assert new.version != artifact.version
    # What it was chosen on is not fresh to it any more.
    with pytest.raises(InputRefused, match="was chosen on"):
        parts_of(labels, new, fresh=True)


def test_a_guarantee_that_cannot_be_had_says_what_is_missing(artifact: Artifact) -> None:
    """A hundred labels are too few for a strict target, which without a guarantee is reached."""
    target = Target(0.5, 0.84, 0.84)
    assert _choose(artifact, target).threshold is not None
    chosen = _choose(artifact, target, confidence=0.95)
    assert chosen.threshold is None
    assert chosen.missing is not None
    assert chosen.missing.matches + chosen.missing.mismatches > 100
    many = _choose(artifact, target, confidence=0.95, n_images=20_000)
    assert many.threshold is not None


def test_labels_through_an_audit_are_weighted(artifact: Artifact) -> None:
    """With passed posts drawn one in four and weighing four, the choice is that of all posts."""
    rng = np.random.default_rng(9)
    labels = _labels(n_images=40_000, seed=2)
    scores = artifact.curve.scores(labels.cosines)
    kept = (scores < 0.35) | (rng.random(len(labels)) < 0.25)
    audited = replace(labels, weights=np.where(scores < 0.35, 1.0, 4.0)).take(kept)
    target = Target(0.1, recall_min=0.97)
    of_all, of_audit, unweighted = (
        choose(each, parts_of(each, artifact, fresh=True), artifact, target)
        for each in (labels, audited, replace(audited, weights=np.ones(len(audited))))
    )
    assert of_all.threshold is not None
    assert unweighted.threshold is not None
    assert of_audit.threshold == pytest.approx(of_all.threshold, rel=0.05)
    assert unweighted.threshold < 0.9 * of_all.threshold


def test_reviews_a_day_are_flags_at_the_prevalence(artifact: Artifact) -> None:
    """All that is flagged, right or wrong, of a day's posts."""
    rates = _choose(artifact, Target(0.1, recall_min=0.9)).rates
    assert rates is not None
    reviews = reviews_a_day(rates, 0.1, 5000)
    wrong = rates.false_positive_rate.point
    assert reviews.point == pytest.approx(500 * rates.recall.point + 4500 * wrong)
    assert reviews.lower < reviews.point < reviews.upper


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        pytest.param({}, "say what", id="nothing"),
        pytest.param({"precision_min": 0.9, "flags_max": 0.1}, "neither", id="two kinds"),
        pytest.param({"recall_min": 0.9, "flags_max": 0.1}, "neither", id="recall and capacity"),
        pytest.param({"precision_min": 1.0}, "least precision", id="certain precision"),
        pytest.param({"recall_min": 0.0}, "least recall", id="no recall"),
        pytest.param({"recall_min": float("nan")}, "least recall", id="no number"),
        pytest.param({"flags_max": 1.0}, "every post", id="all posts"),
        pytest.param({"flags_max": 0.0}, "above 0", id="no reviews"),
        pytest.param({"recall_min": 0.9, "prevalence": 0.0}, "prevalence", id="no mismatches"),
        pytest.param({"recall_min": 0.9, "prevalence": 35.0}, "prevalence", id="percent"),
    ],
)
def test_a_target_that_is_none_is_refused(wanted: dict[str, float], problem: str) -> None:
    """Contradictions and shares that are none say what is wrong."""
    with pytest.raises(InputRefused, match=problem):
        Target(**{"prevalence": 0.5, **wanted})


@pytest.mark.parametrize("matches", [0, 29])
def test_too_few_labels_of_a_class_are_refused(artifact: Artifact, matches: int) -> None:
    """One class alone or fewer than 30 labels of one can choose nothing."""
    labels = _labels(seed=1)
    rows = np.concatenate(
        [np.flatnonzero(~labels.is_match), np.flatnonzero(labels.is_match)[:matches]]
    )
    with pytest.raises(InputRefused, match=f"30 matches are needed, there are {matches}"):
        parts_of(labels.take(rows), artifact, fresh=True)
