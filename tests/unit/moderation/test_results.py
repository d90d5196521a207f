"""What came of a set of posts, and how right it was."""

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.client import RefusedLine, Sent
from moderation.results import Result, Truth, refused_result, result_of, to_document, truth_of
from moderation.types import Outcome, Reason


def _result(label: str | None, outcome: str, **figures: Any) -> Result:
    return Result(
        name="dog.jpg",
        caption="a dog",
        label=label,
        external_id="post-1",
        id="0190",
        outcome=outcome,
        **figures,
    )


def _results(*, hit: int = 0, missed: int = 0, false: int = 0, right: int = 0) -> list[Result]:
    return [
        *[_result("mismatch", "flag")] * hit,
        *[_result("mismatch", "pass")] * missed,
        *[_result("match", "flag")] * false,
        *[_result("match", "pass")] * right,
    ]


@pytest.mark.parametrize(
    ("counts", "truth"),
    [
        pytest.param(
            {"hit": 3, "missed": 1, "false": 2, "right": 4},
            Truth(n=10, accuracy=0.7, precision=0.6, recall=0.75, f1=6 / 9),
            id="all kinds",
        ),
        pytest.param(
            {"hit": 2, "right": 2}, Truth(n=4, accuracy=1, precision=1, recall=1, f1=1), id="right"
        ),
        pytest.param(
            {"missed": 1, "false": 1},
            Truth(n=2, accuracy=0, precision=0, recall=0, f1=0),
            id="wrong",
        ),
        pytest.param(
            {"missed": 2, "right": 2},
            Truth(n=4, accuracy=0.5, precision=None, recall=0, f1=0),
            id="nothing flagged",
        ),
        pytest.param(
            {"false": 1, "right": 3},
            Truth(n=4, accuracy=0.75, precision=0, recall=None, f1=0),
            id="no mismatches",
        ),
        pytest.param(
            {"right": 3},
            Truth(n=3, accuracy=1, precision=None, recall=None, f1=None),
            id="no mismatches, nothing flagged",
        ),
    ],
)
def test_a_flagged_mismatch_is_a_true_positive(counts: dict[str, int], truth: Truth) -> None:
    """The figures are those of flagging mismatches, and None where they would divide by 0."""
    assert truth_of(_results(**counts)) == truth


@pytest.mark.parametrize(
    "results",
    [
        [],
        [_result(None, "flag"), _result(None, "pass")],
        [_result("match", "unscorable"), _result("mismatch", "queued")],
        [refused_result(RefusedLine("post-1", "line 1 is no JSON"))],
    ],
)
def test_nothing_is_known_without_labels_or_scores(results: list[Result]) -> None:
    """There is no truth where no labelled post has a score."""
    assert truth_of(results) is None


@given(st.lists(st.sampled_from(["unscorable", "queued", "refused"])), st.sampled_from(["", "mis"]))
def test_what_was_not_scored_changes_no_figure(outcomes: list[str], prefix: str) -> None:
    """Unscorable, waiting and refused posts are left out, whatever their label."""
    scored = _results(hit=3, missed=1, false=2, right=4)
    unscored = [_result(f"{prefix}match", outcome) for outcome in outcomes]
    assert truth_of([*unscored, *scored]) == truth_of(scored)


VERDICT = {"outcome": "flag", "reason": None, "cosine": 0.1, "score": 0.05, "threshold": 0.35}
SENT = Sent(id="0190", name="dog.jpg", caption="a dog", external_id="post-1", label="mismatch")


def test_a_result_is_the_post_with_its_verdict() -> None:
    """What was handed in and what was said of it stand together."""
    assert result_of(SENT, {"id": "0190", "verdict": VERDICT}) == _result(
        "mismatch", "flag", cosine=0.1, score=0.05, threshold=0.35
    )


@pytest.mark.parametrize("status", [None, {"id": "0190", "verdict": None}])
def test_a_post_without_a_verdict_is_queued(status: dict[str, Any] | None) -> None:
    """Whoever did not wait sees that the post waits, and no figures."""
    assert result_of(SENT, status) == _result("mismatch", "queued")


def test_a_refused_line_says_why() -> None:
    """A line that was not handed in keeps its external id and its problem."""
    document = refused_result(RefusedLine("post-1", "line 3: no image")).to_document()
    assert document["outcome"] == "refused"
    assert document["reason"] == "line 3: no image"
    assert (document["external_id"], document["id"]) == ("post-1", None)


def test_the_document_has_the_shape_that_tools_rely_on() -> None:
    """The document of `submit --json` has exactly the keys of its contract."""
    results = [
        _result("mismatch", "flag", cosine=0.1, score=0.05, threshold=0.35),
        _result("match", "pass", cosine=0.3, score=0.9, threshold=0.35),
        _result("match", "unscorable", reason=Reason.IMAGE_CORRUPT.value, threshold=0.35),
        _result(None, "queued"),
        refused_result(RefusedLine(None, "line 5 is no JSON")),
    ]
    document = to_document(results, seconds=1.23456)
    assert json.loads(json.dumps(document)) == {
        "submitted": 4,
        "seconds": 1.235,
        "outcomes": {"pass": 1, "flag": 1, "unscorable": 1, "refused": 1},
        "results": [
            {
                "external_id": "post-1",
                "id": "0190",
                "outcome": "flag",
                "reason": None,
                "cosine": 0.1,
                "score": 0.05,
                "threshold": 0.35,
            },
            {
                "external_id": "post-1",
                "id": "0190",
                "outcome": "pass",
                "reason": None,
                "cosine": 0.3,
                "score": 0.9,
                "threshold": 0.35,
            },
            {
                "external_id": "post-1",
                "id": "0190",
                "outcome": "unscorable",
                "reason": "image_corrupt",
                "cosine": None,
                "score": None,
                "threshold": 0.35,
            },
            {
                "external_id": "post-1",
                "id": "0190",
                "outcome": "queued",
                "reason": None,
                "cosine": None,
                "score": None,
                "threshold": None,
            },
            {
                "external_id": None,
                "id": None,
                "outcome": "refused",
                "reason": "line 5 is no JSON",
                "cosine": None,
                "score": None,
                "threshold": None,
            },
        ],
        "truth": {"accuracy": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 2},
    }


def test_without_truth_the_document_says_null() -> None:
    """Posts without labels give figures of outcomes, and null for the truth."""
    document = to_document([_result(None, "pass")], seconds=0)
    assert document["truth"] is None
    assert document["outcomes"] == {"pass": 1, "flag": 0, "unscorable": 0, "refused": 0}


@pytest.mark.parametrize(("label", "outcome"), list(product(["match", "mismatch"], Outcome)))
def test_outcomes_are_read_as_the_pipeline_writes_them(label: str, outcome: Outcome) -> None:
    """An outcome as text counts as the outcome of that name."""
    truth = truth_of([_result(label, outcome.value)])
    if outcome is Outcome.UNSCORABLE:
        assert truth is None
    else:
        assert truth is not None
        assert truth.accuracy == float((label == "mismatch") == (outcome is Outcome.FLAG))
