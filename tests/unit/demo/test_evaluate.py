"""The bundled model on combinations it never met, and the arithmetic that says how good it is."""

import numpy as np
import pytest

from moderation.demo import MODEL_WEIGHTS
from moderation.demo.captions import Swap
from moderation.demo.evaluate import auc, evaluate, fit_match_score, sample_pairs, share
from moderation.demo.model import load


def test_the_bundled_model_reaches_its_floors() -> None:
    """On a few held-out pairs the figures stay near those that were measured on thousands."""
    result = evaluate(load(), n=150, seed=11, quiet=True)
    assert result.accuracy.point >= 0.97
    assert result.kinds["random"].recall.point >= 0.97
    for kind in ("object", "colour", "count"):
        assert result.kinds[kind].auc.point >= 0.88, kind


def test_the_bundled_weights_are_small() -> None:
    """The weights are a part of the package, so they stay below 12 MB."""
    assert MODEL_WEIGHTS.stat().st_size <= 12_000_000


def test_test_pairs_are_held_out() -> None:
    """Every judged pair shows something that training never met; validation pairs show none."""
    for how in (None, *Swap):
        assert all(pair.scene.held_out for pair in sample_pairs("test", 1, 20, how, held_out=True))
        pairs = sample_pairs("validation", 1, 20, how, held_out=False)
        assert not any(pair.scene.held_out for pair in pairs)


def test_match_score_is_half_between_equal_classes() -> None:
    """The fit weighs the classes equally, however many there are of each."""
    rng = np.random.default_rng(0)
    matched, swapped = rng.normal(0.6, 0.1, 4000), rng.normal(0.2, 0.1, 400)
    a, b = fit_match_score(matched, swapped)
    assert a > 0
    assert -b / a == pytest.approx(0.4, abs=0.02)


def test_auc_of_equal_and_of_separate_classes() -> None:
    """Classes alike give one half within the interval; classes apart give one."""
    rng = np.random.default_rng(0)
    alike = auc(rng.normal(size=300), rng.normal(size=300), rng)
    assert alike.low < 0.5 < alike.high
    assert auc(np.array([0.8, 0.9]), np.array([0.1, 0.2]), rng).point == 1


def test_a_share_has_its_wilson_interval() -> None:
    """Nine in ten: the interval of the textbook."""
    nine = share(9, 10)
    assert (nine.low, nine.high) == pytest.approx((0.596, 0.982), abs=1e-3)
