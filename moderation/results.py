"""What came of a set of posts: outcomes, and where the truth is known, how right they were."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moderation.client import RefusedLine, Sent
from moderation.types import Outcome

REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Truth:
    """How right the verdicts were; a mismatch that is flagged is a true positive.

    Unscorable posts are left out: a person decides on them. A figure is None where its
    denominator is 0.
    """

    n: int
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """One post with its verdict's figures, or why it was refused."""

    name: str | None
    caption: str | None
    label: str | None
    external_id: str | None
    id: str | None
    outcome: str
    reason: str | None = None
    cosine: float | None = None
    score: float | None = None
    threshold: float | None = None

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return {
            "external_id": self.external_id,
            "id": self.id,
            "outcome": self.outcome,
            "reason": self.reason,
            "cosine": self.cosine,
            "score": self.score,
            "threshold": self.threshold,
        }


def result_of(sent: Sent, status: dict[str, Any] | None) -> Result:
    """The result of a post that was handed in; `queued` while there is no verdict."""
    verdict = status["verdict"] if status else None
    return Result(
        name=sent.name,
        caption=sent.caption,
        label=sent.label,
        external_id=sent.external_id,
        id=sent.id,
        outcome=verdict["outcome"] if verdict else "queued",
        reason=verdict["reason"] if verdict else None,
        cosine=verdict["cosine"] if verdict else None,
        score=verdict["score"] if verdict else None,
        threshold=verdict["threshold"] if verdict else None,
    )


def refused_result(line: RefusedLine) -> Result:
    """The result of a line that was not handed in."""
    return Result(None, None, None, line.external_id, None, REFUSED, reason=line.problem)


def truth_of(results: Iterable[Result]) -> Truth | None:
    """Accuracy, precision, recall and F1 over the labelled and scored; None if there are none."""
    pairs = [
        (result.label == "mismatch", result.outcome == Outcome.FLAG)
        for result in results
        if result.label is not None and result.outcome in (Outcome.FLAG, Outcome.PASS)
    ]
    if not pairs:
        return None
    counts = Counter(pairs)
    hit, missed, false = counts[True, True], counts[True, False], counts[False, True]
    return Truth(
        n=len(pairs),
        accuracy=(hit + counts[False, False]) / len(pairs),
        precision=_ratio(hit, hit + false),
        recall=_ratio(hit, hit + missed),
        f1=_ratio(2 * hit, 2 * hit + missed + false),
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def to_document(results: Sequence[Result], *, seconds: float) -> dict[str, Any]:
    """The document of `submit --json` and `demo --json`."""
    counts = Counter(result.outcome for result in results)
    truth = truth_of(results)
    return {
        "submitted": len(results) - counts[REFUSED],
        "seconds": round(seconds, 3),
        "outcomes": {name: counts[name] for name in ("pass", "flag", "unscorable", REFUSED)},
        "results": [result.to_document() for result in results],
        "truth": None
        if truth is None
        else {
            "accuracy": truth.accuracy,
            "precision": truth.precision,
            "recall": truth.recall,
            "f1": truth.f1,
            "n": truth.n,
        },
    }
