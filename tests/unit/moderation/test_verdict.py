"""From a cosine to a verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.curves import Platt
from moderation.types import Calibration, Note, Outcome, PairScore, Reason
from moderation.verdict import decide, unscorable

COSINES = st.floats(-1, 1)
CALIBRATIONS = st.builds(
    Calibration,
    version=st.just("c-1"),
    model=st.just("model-1"),
    curve=st.builds(Platt, a=st.floats(1e-3, 1e3), b=st.floats(-1e3, 1e3)),
    threshold=st.floats(0, 1, exclude_min=True, exclude_max=True),
)


def _calibration(*, a: float = 30.0, b: float = -6.0, threshold: float = 0.35) -> Calibration:
    return Calibration(version="c-1", model="model-1", curve=Platt(a, b), threshold=threshold)


@pytest.mark.parametrize(
    ("cosine", "outcome"),
    [
        (-1.0, Outcome.FLAG),
        (0.1793, Outcome.FLAG),  # a score of 0.3495
        (0.1794, Outcome.PASS),  # a score of 0.3502
        (1.0, Outcome.PASS),
    ],
)
def test_scores_below_the_threshold_are_flagged(cosine: float, outcome: Outcome) -> None:
    """At 0.35 the line runs between 0.3495 and 0.3502."""
    assert decide(PairScore(cosine), _calibration()).outcome is outcome


@given(COSINES, st.floats(1, 20), st.floats(-5, 5))
def test_a_score_equal_to_the_threshold_passes(cosine: float, a: float, b: float) -> None:
    """Only scores strictly below the threshold are flagged."""
    score = Platt(a, b).score(cosine)
    at = decide(PairScore(cosine), _calibration(a=a, b=b, threshold=score))
    above = decide(PairScore(cosine), _calibration(a=a, b=b, threshold=math.nextafter(score, 2)))
    assert (at.outcome, above.outcome) == (Outcome.PASS, Outcome.FLAG)


@pytest.mark.parametrize("cosine", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("threshold", [1e-9, 0.35, 1 - 1e-9])
def test_a_cosine_that_is_no_number_never_passes(cosine: float, threshold: float) -> None:
    """Without a finite cosine the verdict is unscorable, and says that scoring failed."""
    verdict = decide(PairScore(cosine), _calibration(threshold=threshold))
    assert verdict.outcome is Outcome.UNSCORABLE
    assert verdict.reason is Reason.SCORING_FAILED
    assert verdict.detail
    assert (verdict.cosine, verdict.score) == (None, None)


@given(
    COSINES | st.sampled_from([math.nan, math.inf]),
    CALIBRATIONS,
    st.lists(st.sampled_from(Note), unique=True).map(tuple),
)
def test_a_verdict_says_what_it_was_made_with(
    cosine: float, calibration: Calibration, notes: tuple[Note, ...]
) -> None:
    """Every verdict names calibration, model and threshold; a score comes with its notes."""
    verdict = decide(PairScore(cosine, notes), calibration)
    assert verdict.calibration_version == calibration.version
    assert verdict.model == calibration.model
    assert verdict.threshold == calibration.threshold
    if math.isfinite(cosine):
        assert verdict.cosine == cosine
        assert verdict.score == calibration.curve.score(cosine)
        assert verdict.notes == notes
        assert verdict.reason is None


@pytest.mark.parametrize("reason", list(Reason))
def test_what_cannot_be_scored_says_why(reason: Reason) -> None:
    """An unscorable verdict carries its reason and the calibration in force, but no score."""
    verdict = unscorable(reason, "what happened", _calibration())
    assert verdict.outcome is Outcome.UNSCORABLE
    assert (verdict.reason, verdict.detail) == (reason, "what happened")
    assert (verdict.calibration_version, verdict.model) == ("c-1", "model-1")
    assert (verdict.cosine, verdict.score) == (None, None)


@given(st.text(st.characters(categories=["L", "Cs", "Cc"])))
def test_any_detail_can_be_stored(detail: str) -> None:
    """What a decoder or a host said of an image never keeps a batch from being stored."""
    verdict = unscorable(Reason.IMAGE_CORRUPT, detail, Calibration("v", "m", Platt(1.0, 0.0), 0.35))
    assert verdict.detail is not None
    assert "\0" not in verdict.detail
    verdict.detail.encode("utf-8")
