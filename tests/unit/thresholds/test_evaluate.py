"""Figures of an evaluation are what they are called, and their intervals hold."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score

from moderation.curves import Floats
from moderation.errors import InputRefused
from thresholds.artifact import Artifact
from thresholds.calibrate import calibrate
from thresholds.compare import FIGURES, compare
from thresholds.evaluate import evaluate, matches_above, own_prevalence
from thresholds.held_out import unseen
from thresholds.labels import Bools, Labels
from thresholds.models import NamedModel
from thresholds.rates import share
from thresholds.reliability import expected_calibration_error
from thresholds.resampling import Ranking, resampled_weights
from thresholds.splits import Split, split_of

MODEL = NamedModel("some:model", "a1" * 32, "b2" * 32)
KINDS = np.array(["own", "random", "negation"])


def _labels(n_images: int = 300, *, seed: int = 0) -> Labels:
    """Make a match and two mismatches of each image, of which the negation is hard to tell."""
    rng = np.random.default_rng(seed)
    kinds = np.tile(KINDS, n_images)
    middle = np.select([kinds == "own", kinds == "random"], [0.32, 0.18], 0.3)
    own = np.repeat(rng.normal(0, 0.03, n_images), 3)
    return Labels.of(
        (rng.normal(middle, 0.05) + own).round(3),
        kinds == "own",
        images=np.repeat(np.arange(n_images), 3).astype(np.str_),
        kinds=kinds,
    )


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    """Calibrate once for all tests; what intervals it has is nothing to them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 10)
        monkeypatch.setattr("thresholds.reliability._RESAMPLES", 10)
        return calibrate(_labels(), MODEL)


def test_figures_equal_scikit_learns(artifact: Artifact) -> None:
    """AUC of all labels; Brier score with both classes weighing one half, as the score means."""
    labels = _labels(seed=1)
    scores, is_match = artifact.curve.scores(labels.cosines), labels.is_match
    done = evaluate(labels, artifact, prevalence=0.1)
    assert done.auc.point == pytest.approx(roc_auc_score(is_match, scores))
    weights = labels.class_weights()
    brier = brier_score_loss(is_match, scores, sample_weight=weights)
    assert done.brier_score.point == pytest.approx(brier)
    error = expected_calibration_error(scores, is_match, weights)
    assert done.expected_calibration_error.point == pytest.approx(error)
    assert (done.matches, done.mismatches, done.images) == (300, 600, 300)
    assert (done.prevalence, done.threshold) == (0.1, 0.35)


def test_each_kind_has_figures_of_its_own(artifact: Artifact) -> None:
    """Each kind of mismatch against all matches; what matches are flagged stands beside it."""
    labels = _labels(seed=1)
    scores = artifact.curve.scores(labels.cosines)
    kinds = {kind.kind: kind for kind in evaluate(labels, artifact, prevalence=0.1).kinds}
    assert list(kinds) == ["negation", "random", "own"]
    for name, kind in kinds.items():
        rows = labels.kinds == name
        assert kind.n == 300
        assert kind.is_match is (name == "own")
        assert kind.flagged.point == pytest.approx((scores < 0.35)[rows].mean())
        if name == "own":
            assert kind.auc is None
        else:
            both = rows | labels.is_match
            auc = roc_auc_score(labels.is_match[both], scores[both])
            assert kind.auc is not None
            assert kind.auc.point == pytest.approx(auc)
            assert kind.auc.lower < auc < kind.auc.upper
    assert kinds["random"].auc.lower > kinds["negation"].auc.upper  # type: ignore[union-attr]


def test_a_kind_stands_against_the_matches_of_its_own_images(artifact: Artifact) -> None:
    """As counting pair by pair does; what images have in common cancels out, unlike in the AUC."""
    rng = np.random.default_rng(1)
    labels = _labels(seed=1).take(rng.permutation(900)[:700])
    labels = replace(labels, weights=rng.choice([1.0, 3.0], 700))
    scores = artifact.curve.scores(labels.cosines)
    kinds = {kind.kind: kind for kind in evaluate(labels, artifact, prevalence=0.1).kinds}
    own = {
        labels.images[row]: (scores[row], labels.weights[row])
        for row in np.flatnonzero(labels.is_match)
    }
    for name in ("random", "negation"):
        rows = [row for row in np.flatnonzero(labels.kinds == name) if labels.images[row] in own]
        above = [
            (own[labels.images[row]][0] > scores[row])
            + (own[labels.images[row]][0] == scores[row]) / 2
            for row in rows
        ]
        paired = kinds[name].auc_in_image
        assert paired is not None
        assert paired.point == pytest.approx(np.average(above, weights=labels.weights[rows]))
        assert paired.lower < paired.point < paired.upper
        assert paired.point > kinds[name].auc.point  # type: ignore[union-attr]
    assert kinds["own"].auc_in_image is None
    alone = replace(labels, images=np.arange(700).astype(np.str_))
    assert all(k.auc_in_image is None for k in evaluate(alone, artifact, prevalence=0.1).kinds)


def test_several_matches_of_an_image_share_the_comparison() -> None:
    """Two of three matches above a mismatch, by their weight, and one that is equal, for half."""
    labels = Labels.of(
        np.array([0.1, 0.3, 0.2, 0.2, 0.5]),
        np.array([True, True, True, False, False]),
        images=np.array(["a", "a", "a", "a", "b"]),
        weights=np.array([1.0, 2.0, 1.0, 1.0, 1.0]),
    )
    above = matches_above(labels, labels.cosines)
    assert above.tolist()[3] == pytest.approx((2 + 0.5) / 4)
    assert np.isnan(above[4])


def test_a_paired_interval_covers_the_truth() -> None:
    """The share of changed captions below their own, of images with several, in 300 draws."""
    rng = np.random.default_rng(2)
    truth = float(norm.cdf(0.5 / np.sqrt(2 * 0.6)))
    covered = 0
    for _ in range(300):
        own = rng.normal(0, 1, 120)
        is_match = np.tile([True, False, False, False], 120)
        noise = np.sqrt(0.6) * rng.normal(0, 1, 480)
        scores = np.repeat(own, 4) + noise + np.where(is_match, 0.5, 0)
        labels = Labels.of(
            np.zeros(480), is_match, images=np.repeat(np.arange(120), 4).astype(np.str_)
        )
        above = matches_above(labels, scores)
        interval = share(above[~is_match], labels.weights[~is_match], labels.images[~is_match])
        covered += interval.lower <= truth <= interval.upper
    assert 0.92 * 300 <= covered <= 0.98 * 300


def test_a_label_of_weight_three_is_three_labels(artifact: Artifact) -> None:
    """Writing a label thrice says the same as weighing it three."""
    labels = _labels(seed=1)
    times = np.where(np.arange(len(labels)) % 5 == 0, 3, 1)
    often = labels.take(np.repeat(np.arange(len(labels)), times))
    weighted = replace(labels, weights=times.astype(np.float64))
    assert own_prevalence(often) == pytest.approx(own_prevalence(weighted))
    one, other = (evaluate(each, artifact, prevalence=0.2) for each in (often, weighted))
    for name in ("auc", "brier_score", "expected_calibration_error"):
        assert getattr(one, name).point == pytest.approx(getattr(other, name).point), name
    for name in ("recall", "precision", "accuracy", "f1"):
        ours, theirs = getattr(one.rates, name), getattr(other.rates, name)
        assert ours.point == pytest.approx(theirs.point), name


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_of_a_weighting_is_scikit_learns(seed: int) -> None:
    """Also with equal scores, and for any subset of the mismatches."""
    rng = np.random.default_rng(seed)
    scores, is_match = rng.random(60).round(1), rng.random(60) < 0.5
    labels = Labels.of(scores, is_match)
    weights = rng.integers(0, 4, 60).astype(np.float64)
    some = ~is_match & (rng.random(60) < 0.7)
    rows = is_match | some
    expected = roc_auc_score(is_match[rows], scores[rows], sample_weight=weights[rows])
    assert Ranking(scores, labels).auc(weights, some) == pytest.approx(expected)


def test_resamples_draw_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of an image come equally often, and as many images come as there are."""
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 20)
    labels = replace(_labels(50), weights=np.tile([1.0, 2.0, 5.0], 50))
    for weights in resampled_weights(labels, seed=0):
        times = (weights / labels.weights).reshape(50, 3)
        assert (times == times[:, :1]).all()
        assert times[:, 0].sum() == 50
    first, second = (next(resampled_weights(labels, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first, second)


def _draw(n: int, distance: float, shift: float, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Draw cosines that a curve of slope 1 turns into scores, off by `shift` on the logit."""
    is_match = np.arange(n) % 2 == 0
    middle = np.where(is_match, distance / 2, -distance / 2)
    return (rng.normal(middle, np.sqrt(distance)) + shift) / 100, is_match


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_intervals_cover_the_truth(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    """AUC, Brier score and calibration error of 120 draws, for scores right, a bit and far off."""
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 100)
    artifact = artifact.model_copy(update={"a": 100.0, "b": 0.0})
    rng = np.random.default_rng(11)
    cosines, is_match = _draw(400_000, 4.0, shift, rng)
    scores = expit(100 * cosines)
    truth = {
        "auc": norm.cdf(4 / np.sqrt(2 * 4)),
        "brier_score": np.mean((scores - is_match) ** 2),
        "expected_calibration_error": expected_calibration_error(
            scores, is_match, np.ones(len(scores))
        ),
    }
    covered = dict.fromkeys(truth, 0)
    for _ in range(120):
        done = evaluate(Labels.of(*_draw(500, 4.0, shift, rng)), artifact, prevalence=0.5)
        for name, true in truth.items():
            covered[name] += getattr(done, name).lower <= true <= getattr(done, name).upper
    assert min(covered.values()) >= 0.88 * 120, covered
    assert covered["auc"] < 120


def test_a_calibration_is_no_better_than_itself(artifact: Artifact) -> None:
    """Against itself no figure differs, with nothing on either side."""
    ours = (_labels(seed=1), artifact)
    for each in compare(ours, ours, prevalence=0.1):
        assert (each.difference.lower, each.difference.upper) == (0, 0)
        assert not each.is_more_than_chance


def test_another_threshold_differs_in_rates_and_not_in_auc(artifact: Artifact) -> None:
    """A higher threshold finds more, flags more matches, and ranks as before."""
    labels = _labels(seed=1)
    bold = artifact.model_copy(update={"threshold": 0.6})
    differences = {
        each.figure: each for each in compare((labels, bold), (labels, artifact), prevalence=0.1)
    }
    assert tuple(differences) == FIGURES
    for name in ("recall", "false_positive_rate"):
        assert differences[name].difference.lower > 0
        assert differences[name].is_more_than_chance
    assert not differences["auc"].is_more_than_chance
    done = [evaluate(labels, each, prevalence=0.1) for each in (bold, artifact)]
    for name in ("recall", "false_positive_rate", "precision"):
        points = [getattr(each.rates, name).point for each in done]
        assert differences[name].difference.point == pytest.approx(points[0] - points[1])


def test_two_models_differ_by_chance_as_often_as_said(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that are equally good, and agree on most pairs, seldom seem to differ.

    A model that is better does so in most draws, although its own interval holds the other's.
    """
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 100)
    artifact = artifact.model_copy(update={"a": 100.0, "b": 0.0})
    rng = np.random.default_rng(12)
    found = {0.0: np.zeros(4), 0.5: np.zeros(4)}
    for better, counts in found.items():
        for _ in range(80):
            common, is_match = _draw(600, 4.0, 0.0, rng)
            away = np.where(is_match, better, -better) / 100
            models = [
                Labels.of(common + rng.normal(0, 0.008, 600) + more, is_match)
                for more in (away, np.zeros(600))
            ]
            done = compare((models[0], artifact), (models[1], artifact), prevalence=0.1)
            counts += [each.is_more_than_chance for each in done]
    assert (found[0.0] <= 0.12 * 80).all(), found
    assert (found[0.5][[0, 3]] >= 0.5 * 80).all(), found


def test_models_are_compared_on_the_same_pairs_only(artifact: Artifact) -> None:
    """Labels of other images, or in another order, are refused."""
    labels = _labels(seed=1)
    for other in (labels.take(np.arange(len(labels))[::-1]), labels.take(np.arange(300))):
        with pytest.raises(InputRefused, match="same pairs"):
            compare((labels, artifact), (other, artifact), prevalence=0.1)


def test_only_what_neither_has_seen_is_compared_on(artifact: Artifact) -> None:
    """Calibrations of two seeds have in common what both of them report on."""
    labels = _labels()
    other = artifact.model_copy(update={"seed": 5})
    rows = unseen(labels, [artifact, other], fresh=False)
    assert 0 < rows.sum() < unseen(labels, [artifact], fresh=False).sum()
    for image in np.unique(labels.images[rows]):
        assert split_of(str(image), seed=0) is split_of(str(image), seed=5) is Split.REPORT


def test_too_few_unseen_labels_are_refused(artifact: Artifact) -> None:
    """What is left for a report must be ten of a class at least; fresh labels are all taken."""
    few = _labels(30, seed=1)
    with pytest.raises(InputRefused, match="--fresh"):
        unseen(few, [artifact], fresh=False)
    assert unseen(few, [artifact], fresh=True).all()
    with pytest.raises(InputRefused, match="not fresh"):
        unseen(_labels(), [artifact], fresh=True)
    one_class = _labels().take(~_labels().is_match)
    with pytest.raises(InputRefused, match="30 matches are needed, there are 0"):
        unseen(one_class, [artifact], fresh=True)


def test_each_resample_is_told(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shows progress learns of each resample, in an evaluation and a comparison."""
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 7)
    seen = []
    labels = _labels(seed=1)
    evaluate(labels, artifact, prevalence=0.1, on_resample=lambda: seen.append(1))
    ours = (labels, artifact)
    compare(ours, ours, prevalence=0.1, on_resample=lambda: seen.append(2))
    assert seen == [1] * 7 + [2] * 7
