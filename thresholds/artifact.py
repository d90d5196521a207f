"""The calibration artifact: a JSON file that says what it was made for and from what."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moderation.errors import CalibrationRefused
from moderation.types import Calibration

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Interval(BaseModel):
    """A 95 % interval around an estimate."""

    model_config = ConfigDict(frozen=True)

    point: Finite
    lower: Finite
    upper: Finite


class Report(BaseModel):
    """How the calibration does on labels it was not fitted on."""

    model_config = ConfigDict(frozen=True)

    n: int = Field(description="held-out pairs")
    expected_calibration_error: Share
    brier_score: Share
    log_loss: Finite
    auc: Interval
    recall: Interval = Field(description="mismatches below the threshold")
    false_positive_rate: Interval = Field(description="matches below the threshold")


class Artifact(BaseModel):
    """A calibration of one model: `score = sigmoid(a * cosine + b)` at a prior of 0.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["captionguard-calibration-1"] = "captionguard-calibration-1"
    model: str = Field(description="name of the model, as given in CAPTIONGUARD_MODEL")
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    preprocessing_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    method: Literal["platt"] = "platt"
    a: Annotated[Finite, Field(gt=0)]
    b: Finite
    prior: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    threshold: Annotated[Finite, Field(gt=0, lt=1)]
    cold_start: bool = Field(description="fitted against shuffled captions, without labels")
    matches: int = Field(description="pairs fitted on, of either class")
    mismatches: int
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    a_interval: Interval
    b_interval: Interval
    report: Report
    versions: dict[str, str] = Field(description="of the libraries that it was made with")
    created_at: datetime

    @property
    def fingerprint(self) -> str:
        """The model that this was made for; equals `ClipModel.fingerprint`."""
        return f"{self.weights_sha256[:16]}-{self.preprocessing_sha256[:16]}"

    @property
    def version(self) -> str:
        """Names this calibration by what it says: the same content has the same version."""
        return f"c-{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]}"

    def to_calibration(self) -> Calibration:
        """What the pipeline needs of it."""
        return Calibration(
            version=self.version,
            model=self.fingerprint,
            a=self.a,
            b=self.b,
            threshold=self.threshold,
        )


def read_artifact(path: Path) -> Artifact:
    """Read an artifact; `CalibrationRefused` says what is wrong with it."""
    try:
        return Artifact.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CalibrationRefused(
            f"The calibration {path} cannot be read: {error.strerror}. Make one with "
            "`captionguard thresholds calibrate LABELS.jsonl --out FILE.json`."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CalibrationRefused(
            f"{path} is no calibration of this version: {field}: {first['msg']}. Make a new one "
            "with `captionguard thresholds calibrate LABELS.jsonl --out FILE.json`."
        ) from error


def write_artifact(artifact: Artifact, path: Path) -> None:
    """Write an artifact as readable JSON."""
    path.write_text(artifact.model_dump_json(indent=2) + "\n")


def calibration_for(artifact: Artifact, *, fingerprint: str, spec: str) -> Calibration:
    """The calibration, refused unless it was made for exactly this model."""
    if artifact.fingerprint != fingerprint:
        what = "weights" if artifact.fingerprint[:16] != fingerprint[:16] else "preprocessing"
        raise CalibrationRefused(
            f"The calibration was made for {artifact.model} ({artifact.fingerprint}), but the "
            f"model {spec} is {fingerprint}: the {what} differ. Scores would mean nothing. Make a "
            f"calibration with `captionguard thresholds calibrate LABELS.jsonl --model {spec} "
            "--out FILE.json` and set CAPTIONGUARD_CALIBRATION_FILE to it."
        )
    return artifact.to_calibration()
