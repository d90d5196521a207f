"""From a cosine to a match score, for one and for many."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from moderation.curves import Beta, Curve, Isotonic, Platt

COSINES = st.floats(-1, 1)
PLATTS = st.builds(Platt, a=st.floats(1e-3, 1e3), b=st.floats(-1e3, 1e3))
BETAS = st.builds(Beta, a=st.floats(0, 100), b=st.floats(0, 100), c=st.floats(-100, 100))
ISOTONICS = st.lists(st.tuples(COSINES, st.floats(0, 1)), min_size=2, max_size=9).map(
    lambda knots: Isotonic(
        tuple(np.linspace(-0.9, 0.9, len(knots)).tolist()), tuple(sorted(y for _, y in knots))
    )
)
CURVES = PLATTS | BETAS | ISOTONICS
# One unit in the last place of a score near 1, twice: what two roundings may cost.
ROUNDING = 2 * sys.float_info.epsilon


@given(COSINES, PLATTS)
def test_platts_score_is_the_logistic_function(cosine: float, curve: Platt) -> None:
    """The score is `sigmoid(a * cosine + b)`, as scipy computes it."""
    expected = expit(curve.a * cosine + curve.b)
    assert curve.score(cosine) == pytest.approx(expected, rel=1e-12, abs=sys.float_info.min)


def test_worked_examples() -> None:
    """Log-odds of 0 score one half, of ln 3 three quarters; knots are met, between them halves."""
    assert Platt(30, -6).score(0.2) == pytest.approx(0.5)
    assert Platt(1, math.log(3)).score(0.0) == pytest.approx(0.75)
    # p = 3/4: ln(3/4) - ln(1/4) = ln 3.
    assert Beta(1, 1, 0).score(0.5) == pytest.approx(0.75)
    knots = Isotonic((0.1, 0.3), (0.2, 0.6))
    assert [knots.score(x) for x in (0.0, 0.1, 0.2, 0.3, 0.9)] == pytest.approx(
        [0.2, 0.2, 0.4, 0.6, 0.6]
    )


@given(COSINES, COSINES, CURVES)
def test_a_higher_cosine_never_scores_lower(x: float, y: float, curve: Curve) -> None:
    """Every curve keeps the order of cosines, up to rounding."""
    lower, higher = sorted((x, y))
    assert curve.score(lower) <= curve.score(higher) + 4 * ROUNDING


@given(st.lists(COSINES, min_size=1, max_size=20), CURVES)
def test_many_score_as_each_by_itself(cosines: list[float], curve: Curve) -> None:
    """What a month is looked at with is what the worker computes."""
    many = curve.scores(np.array(cosines))
    assert many.tolist() == pytest.approx([curve.score(c) for c in cosines], rel=1e-12, abs=1e-15)


@given(
    COSINES,
    st.floats(-sys.float_info.max, sys.float_info.max),
    st.floats(-sys.float_info.max, sys.float_info.max),
)
def test_every_finite_curve_gives_a_share(cosine: float, a: float, b: float) -> None:
    """However steep a curve is, the score stays in [0, 1] and nothing overflows."""
    assert 0.0 <= Platt(a, b).score(cosine) <= 1.0


@pytest.mark.parametrize(("cosine", "expected"), [(1.0, 1.0), (-1.0, 0.0)])
def test_extreme_slopes_saturate(cosine: float, expected: float) -> None:
    """The steepest slope there is gives plain 0 or 1."""
    assert Platt(sys.float_info.max, 0.0).score(cosine) == expected
