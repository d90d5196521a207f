"""From a cosine to a verdict. Pure: the same score and calibration say the same forever."""

import math
from typing import Any

from moderation.types import Calibration, Outcome, PairScore, Reason, Verdict


def decide(pair: PairScore, calibration: Calibration) -> Verdict:
    """Flag match scores below the threshold. A cosine that is no number is never a pass."""
    if not math.isfinite(pair.cosine):
        return unscorable(Reason.SCORING_FAILED, "the model gave no finite cosine", calibration)
    score = calibration.curve.score(pair.cosine)
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
