"""One pair by itself, through the same stages as in a worker."""

import hashlib
from typing import Any

from moderation.captions import NO_WORD, caption_fault
from moderation.errors import Unscorable
from moderation.metrics import Metrics
from moderation.settings import Settings
from moderation.types import Calibration, Verdict
from moderation.verdict import decide, to_document, unscorable
from thresholds.versions import set_artifact
from workers.published import no_calibration
from workers.runtime import Scorer, open_scorer


def score_once(settings: Settings, data: bytes, caption: str) -> dict[str, Any]:
    """Score one image file and caption; the document of `captionguard score --json`."""
    artifact = set_artifact(settings)
    if artifact is None:
        raise no_calibration(settings)
    # One image needs one decoder, and no GPU to prove itself.
    one_decoder = settings.model_copy(update={"decode_processes": 1, "decode_device": "cpu"})
    scorer = open_scorer(one_decoder, Metrics(), artifact)
    try:
        verdict = _judge(scorer, artifact.to_calibration(), data, caption)
    finally:
        scorer.close()
    return {"external_id": None, "id": None, **to_document(verdict)}


def _judge(scorer: Scorer, calibration: Calibration, data: bytes, caption: str) -> Verdict:
    if fault := caption_fault(caption):
        return unscorable(fault, NO_WORD, calibration)
    name = hashlib.sha256(data).hexdigest()
    try:
        staged = scorer.engine.score(name, lambda: scorer.decoder.decode(data), caption)
    except Unscorable as error:
        return unscorable(error.reason, error.detail, calibration)
    return decide(staged.result(), calibration)
