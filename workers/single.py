"""One pair by itself, through the same stages as in a worker."""

import hashlib
from typing import Any

from moderation.captions import NO_WORD, caption_fault
from moderation.errors import Unscorable
from moderation.metrics import Metrics
from moderation.settings import Settings
from moderation.types import Verdict
from moderation.verdict import decide, to_document, unscorable
from workers.runtime import Scorer, open_scorer


def score_once(settings: Settings, data: bytes, caption: str) -> dict[str, Any]:
    """Score one image file and caption; the document of `captionguard score --json`."""
    # One image needs one decoder.
    scorer = open_scorer(settings.model_copy(update={"decode_processes": 1}), Metrics())
    try:
        verdict = _judge(scorer, data, caption)
    finally:
        scorer.close()
    return {"external_id": None, "id": None, **to_document(verdict)}


def _judge(scorer: Scorer, data: bytes, caption: str) -> Verdict:
    if fault := caption_fault(caption):
        return unscorable(fault, NO_WORD, scorer.calibration)
    name = hashlib.sha256(data).hexdigest()
    try:
        staged = scorer.engine.score(name, lambda: scorer.decoder.decode(data), caption)
    except Unscorable as error:
        return unscorable(error.reason, error.detail, scorer.calibration)
    return decide(staged.result(), scorer.calibration)
