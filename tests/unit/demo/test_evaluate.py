"""The bundled model on combinations it never met, and the arithmetic that says how good it is."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from moderation.demo import MODEL_CALIBRATION, MODEL_WEIGHTS
from moderation.demo.captions import Swap
from moderation.demo.evaluate import (
    MatchScore,
    auc,
    evaluate,
    read_match_score,
    sample_pairs,
    share,
)
from moderation.demo.model import load
from moderation.errors import InputRefused


def test_the_bundled_model_reaches_its_floors() -> None:
    """On a few held-out pairs the figures stay near those that were measured on thousands."""
    result = evaluate(load(), read_match_score(MODEL_CALIBRATION), n=150, seed=11, quiet=True)
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


def test_the_border_is_the_cosine_at_the_threshold() -> None:
    """At the border, the match score is the threshold."""
    score = MatchScore(a=20, b=-8, threshold=0.35)
    assert 1 / (1 + math.exp(-(20 * score.border - 8))) == pytest.approx(0.35)


def test_another_curve_is_refused(tmp_path: Path) -> None:
    """What has no slope and intercept of Platt's cannot be taken for it."""
    document = json.loads(MODEL_CALIBRATION.read_text()) | {"method": "beta", "c": 1}
    path = tmp_path / "beta.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputRefused, match="is beta; only platt"):
        read_match_score(path)


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
