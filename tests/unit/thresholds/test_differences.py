"""What differs between two calibrations, and which cosines get another verdict."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.curves import Beta, Curve, Isotonic, Platt
from moderation.demo import MODEL_CALIBRATION
from thresholds.artifact import Artifact, Reference
from thresholds.differences import differences, lowest_passing

DEMO = json.loads(MODEL_CALIBRATION.read_text())
THRESHOLDS = st.floats(0.01, 0.99)
CURVES = st.one_of(
    st.builds(Platt, a=st.floats(0.5, 200), b=st.floats(-100, 100)),
    st.builds(Beta, a=st.floats(0.1, 50), b=st.floats(0, 50), c=st.floats(-20, 20)),
    st.lists(st.floats(0, 1), min_size=2, max_size=9).map(
        lambda ys: Isotonic(tuple(np.linspace(-0.5, 0.9, len(ys)).tolist()), tuple(sorted(ys)))
    ),
)


def artifact(**changes: Any) -> Artifact:
    """The bundled calibration with changes."""
    return Artifact.model_validate_json(json.dumps(DEMO | changes))


@given(CURVES, THRESHOLDS)
def test_the_border_lies_between_what_is_flagged_and_what_passes(
    curve: Curve, threshold: float
) -> None:
    """The lowest cosine that passes does, and the next lower number does not."""
    border = lowest_passing(curve, threshold)
    if border is None:
        assert curve.score(1.0) < threshold
        return
    assert curve.score(border) >= threshold
    if border > -1:
        assert curve.score(float(np.nextafter(border, -2))) < threshold


@given(CURVES, THRESHOLDS, CURVES, THRESHOLDS)
def test_a_verdict_changes_exactly_where_it_is_said(
    old: Curve, old_threshold: float, new: Curve, new_threshold: float
) -> None:
    """Scored cosine by cosine, verdicts differ in the told range and nowhere else."""
    a, b = (
        artifact(threshold=threshold, **_members(curve))
        for curve, threshold in ((old, old_threshold), (new, new_threshold))
    )
    shift = differences(a, b).shift
    for cosine in np.linspace(-1, 0.999, 400).tolist():
        before, after = old.score(cosine) < old_threshold, new.score(cosine) < new_threshold
        is_inside = shift is not None and shift.lower <= cosine < shift.upper
        assert (before != after) == is_inside
        if is_inside:
            assert shift is not None
            assert shift.becomes == ("flag" if after else "pass")


def _members(curve: Curve) -> dict[str, Any]:
    """A curve as an artifact has it."""
    if isinstance(curve, Isotonic):
        knots = list(zip(curve.cosines, curve.match_scores, strict=True))
        return {"method": "isotonic", "knots": knots}
    if isinstance(curve, Beta):
        return {"method": "beta", "a": curve.a, "b": curve.b, "c": curve.c}
    return {"method": "platt", "a": curve.a, "b": curve.b}


def test_the_share_of_either_class_that_changes() -> None:
    """Counted on the cosines themselves, the same share of matches and mismatches moves."""
    rng = np.random.default_rng(5)
    matches, mismatches = rng.normal(0.8, 0.02, 100_001), rng.normal(0.75, 0.04, 100_001)
    reference = Reference(
        match_quantiles=tuple(np.quantile(matches, np.linspace(0, 1, 101)).tolist()),
        mismatch_quantiles=tuple(np.quantile(mismatches, np.linspace(0, 1, 101)).tolist()),
    )
    a, b = artifact(), artifact(threshold=0.6, reference=reference.model_dump())
    shift = differences(a, b).shift
    assert shift is not None
    assert shift.becomes == "flag"
    for share, cosines in ((shift.matches, matches), (shift.mismatches, mismatches)):
        counted = ((cosines >= shift.lower) & (cosines < shift.upper)).mean()
        assert share == pytest.approx(counted, abs=0.002)


def test_each_figure_that_differs_is_named() -> None:
    """Changed figures are listed by their place with both values, equal ones are not."""
    report = DEMO["report"] | {"n": 9, "auc": {"point": 0.9, "lower": 0.8, "upper": 1.0}}
    found = differences(artifact(), artifact(report=report, b=-40.0, versions={"torch": "9"}))
    named = {field.name: (field.a, field.b) for field in found.fields}
    assert named["b"] == (DEMO["b"], -40.0)
    assert named["report.n"] == (DEMO["report"]["n"], 9)
    assert named["report.auc"][1] == report["auc"]
    assert named["versions.torch"] == (DEMO["versions"]["torch"], "9")
    assert not {"a", "threshold", "report.log_loss", "model"} & set(named)


def test_cosines_of_different_models_are_not_compared() -> None:
    """A cosine of one model says nothing under the calibration of another."""
    found = differences(artifact(), artifact(weights_sha256="0" * 64, threshold=0.9))
    assert (found.same_model, found.shift) == (False, None)


def test_the_same_calibration_has_no_differences() -> None:
    """Read twice, nothing differs and no verdict changes."""
    found = differences(artifact(), artifact())
    assert (found.fields, found.shift, found.same_model) == ((), None, True)
