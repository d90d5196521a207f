"""From a cosine to a verdict. Pure: the same score and calibration say the same forever."""

import math
from typing import Any

from moderation.types import Calibration, Outcome, PairScore, Reason, Verdict


def match_score(cosine: float, calibration: Calibration) -> float:
    """The calibrated match score in [0, 1]: `sigmoid(a * cosine + b)` (Platt, 1999)."""
    logit = calibration.a * cosine + calibration.b
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    # The other branch's exp would overflow for a large negative logit.
    odds = math.exp(logit)
    return odds / (1.0 + odds)


def decide(pair: PairScore, calibration: Calibration) -> Verdict:
    """Flag match scores below the threshold. A cosine that is no number is never a pass."""
    if not math.isfinite(pair.cosine):
        return unscorable(Reason.SCORING_FAILED, "the model gave no finite cosine", calibration)
    score = match_score(pair.cosine, calibration)
    return Verdict(
        outcome=Outcome.FLAG if score < calibration.threshold else Outcome.PASS,
        calibration_version=calibration.version,
        model=calibration.model,
        threshold=calibration.threshold,
        cosine=pair.cosine,
        score=score,
        notes=pair.notes,
    )


def to_document(verdict: Verdict) -> dict[str, Any]:
    """The verdict as tools read it, wherever it is shown."""
    return {
        "outcome": verdict.outcome.value,
        "reason": verdict.reason.value if verdict.reason else None,
        "detail": verdict.detail,
        "cosine": verdict.cosine,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "calibration_version": verdict.calibration_version,
        "model": verdict.model,
        "notes": [note.value for note in verdict.notes],
    }


def unscorable(reason: Reason, detail: str, calibration: Calibration) -> Verdict:
    """The verdict on what cannot be scored: a person looks at it, it never passes."""
    return Verdict(
        outcome=Outcome.UNSCORABLE,
        calibration_version=calibration.version,
        model=calibration.model,
        threshold=calibration.threshold,
        reason=reason,
        detail=_storable(detail),
    )


def _storable(detail: str) -> str:
    """What PostgreSQL can keep: one that it refused would take its whole batch along."""
    return detail.encode("utf-8", "replace").decode().replace("\0", "?")
