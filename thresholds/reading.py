"""Labels to hold against a calibration: of its model, or refused."""

from collections.abc import Callable
from pathlib import Path

from moderation.settings import Settings
from thresholds.artifact import Artifact, calibration_for
from thresholds.models import UNNAMED
from thresholds.sources import Source

Read = Callable[[Settings], Source]


def read_for(artifact: Artifact, path: Path, settings: Settings, read: Read) -> Source:
    """Read labels of the model that the calibration at a path is for, whatever model is set.

    Pairs are scored with it, and only decisions on its verdicts are read. Raises
    `CalibrationRefused` for labels that say that they are of another model.
    """
    if artifact.model != UNNAMED.spec:
        settings = settings.model_copy(update={"model": artifact.model, "calibration_file": path})
    source = read(settings)
    model = source.model
    if model is not None:
        fingerprint = f"{model.weights_sha256[:16]}-{model.preprocessing_sha256[:16]}"
        calibration_for(artifact, fingerprint=fingerprint, spec=model.spec)
    return source
