"""From what somebody names, a file or a version, to the calibration."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from moderation.demo import MODEL_CALIBRATION, MODEL_NAME
from moderation.errors import InputRefused
from moderation.settings import Settings
from moderation.store import calibrations
from thresholds.artifact import Artifact, parse_artifact, read_artifact


@dataclass(frozen=True, slots=True)
class Named:
    """A calibration, under the version that it is or would be published as."""

    version: str
    artifact: Artifact


def find(name: str, database: Engine) -> Named:
    """The calibration in a file, or the published one whose version is or begins with `name`.

    Raises `InputRefused` where that is none or several, `CalibrationRefused` where it cannot
    be read.
    """
    path = Path(name)
    if path.is_file():
        artifact = read_artifact(path)
        return Named(artifact.version, artifact)
    with database.connect() as connection:
        found = calibrations.starting_with(connection, name)
    if not found:
        raise InputRefused(
            f"{name} is neither a file nor a published version; `captionguard thresholds list` "
            "shows those."
        )
    if len(found) > 1:
        versions = ", ".join(stored.version for stored in found)
        raise InputRefused(f"{name} may be any of {versions}: write more of it.")
    stored = found[0]
    return Named(stored.version, parse_artifact(stored.artifact, name=stored.version))


def set_artifact(settings: Settings) -> Artifact | None:
    """The calibration that workers are started with: set or, for the bundled model, bundled."""
    if settings.calibration_file is not None:
        return read_artifact(settings.calibration_file)
    return read_artifact(MODEL_CALIBRATION) if settings.model == MODEL_NAME else None


def set_model(settings: Settings) -> str:
    """The fingerprint of the model that workers are started with.

    Loads the model only where no calibration says it: a worker starts with no other.
    """
    artifact = set_artifact(settings)
    if artifact is not None:
        return artifact.fingerprint
    from moderation.scoring.model import load_model

    return load_model(settings.model, device=settings.device).fingerprint
