"""The calibration artifact: a JSON file that says what it was made for and from what."""

import hashlib
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moderation.curves import Beta, Curve, Isotonic, Platt
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


class Reference(BaseModel):
    """The cosines that the calibration was made from: what later traffic is compared with.

    Quantiles at 0, 1/100, … 1 of either class.
    """

    model_config = ConfigDict(frozen=True)

    match_quantiles: Annotated[tuple[Finite, ...], Field(min_length=101, max_length=101)]
    mismatch_quantiles: Annotated[tuple[Finite, ...], Field(min_length=101, max_length=101)]


class Choice(BaseModel):
    """Why the threshold is what it is."""

    model_config = ConfigDict(frozen=True)

    target: str = Field(description="what was asked for, such as precision >= 0.9")
    prevalence: Share = Field(description="share of mismatches that the precision holds at")
    confidence: Share | None = Field(description="of the guarantee; None if none was asked for")
    recall: Interval
    precision: Interval
    matches: int = Field(description="labels it was chosen on, of either class")
    mismatches: int
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None, description="of all labels that these were taken from"
    )


class Artifact(BaseModel):
    """A calibration of one model: its curve from cosine to match score at a prior of 0.5.

    `platt` has a and b, `beta` a, b and c, `isotonic` its knots; see `moderation.curves`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["captionguard-calibration-1"] = "captionguard-calibration-1"
    model: str = Field(description="name of the model, as given in CAPTIONGUARD_MODEL")
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    preprocessing_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    method: Literal["platt", "beta", "isotonic"] = "platt"
    a: Finite | None = None
    b: Finite | None = None
    c: Finite | None = None
    knots: tuple[tuple[Finite, Share], ...] = Field(
        default=(), description="cosine and match score of each, for isotonic"
    )
    prior: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    threshold: Annotated[Finite, Field(gt=0, lt=1)]
    choice: Choice | None = Field(default=None, description="None: the standard 0.35, or by hand")
    cold_start: bool = Field(description="fitted against shuffled captions, without labels")
    matches: int = Field(description="pairs fitted on, of either class")
    mismatches: int
    effective_matches: Finite | None = Field(
        default=None, description="as how many of equal weight they tell; None: as many as they are"
    )
    effective_mismatches: Finite | None = None
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    seen: tuple[str, ...] = Field(
        default=(), description="marks of some pairs it was fitted on: they are not fresh to it"
    )
    seed: int = Field(default=0, description="which images went to which split follows from it")
    a_interval: Interval | None = None
    b_interval: Interval | None = None
    report: Report
    reference: Reference | None = None
    versions: dict[str, str] = Field(description="of the libraries that it was made with")
    created_at: datetime

    @model_validator(mode="after")
    def _has_a_curve(self) -> Self:
        _ = self.curve
        return self

    @property
    def curve(self) -> Curve:
        """The curve, which never falls; raises `ValueError` where it is not one."""
        if self.method == "isotonic":
            return _isotonic(self.knots)
        if self.a is None or self.b is None:
            raise ValueError(f"{self.method} needs a and b")
        if self.method == "platt":
            if self.a <= 0:
                raise ValueError("a must be above 0: matches score higher than mismatches")
            return Platt(self.a, self.b)
        if self.c is None:
            raise ValueError("beta needs c")
        if min(self.a, self.b) < 0 or self.a + self.b == 0:
            raise ValueError("a and b of beta are not below 0, and one of them is above")
        return Beta(self.a, self.b, self.c)

    @property
    def fingerprint(self) -> str:
        """The model that this was made for; equals `ClipModel.fingerprint`."""
        return f"{self.weights_sha256[:16]}-{self.preprocessing_sha256[:16]}"

    @property
    def made_for(self) -> str:
        """The model in words, with its fingerprint; cosines alone name none."""
        if not self.weights_sha256.strip("0"):
            return "no named model (of cosines, without --model)"
        return f"{self.model} ({self.fingerprint})"

    @property
    def version(self) -> str:
        """Names this calibration by what it says: the same content has the same version."""
        # Without defaults, so that a field of a later release leaves it as it is.
        said = self.model_dump_json(exclude_defaults=True)
        return f"c-{hashlib.sha256(said.encode()).hexdigest()[:12]}"

    def to_calibration(self) -> Calibration:
        """What the pipeline needs of it."""
        return Calibration(
            version=self.version,
            model=self.fingerprint,
            curve=self.curve,
            threshold=self.threshold,
        )


def _isotonic(knots: tuple[tuple[float, float], ...]) -> Isotonic:
    if len(knots) < 2:
        raise ValueError("isotonic needs two knots at least")
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x1 <= x0 or y1 < y0:
            raise ValueError("the cosines of the knots rise and their scores never fall")
    return Isotonic(tuple(x for x, _ in knots), tuple(y for _, y in knots))


def read_artifact(path: Path) -> Artifact:
    """Read an artifact; `CalibrationRefused` says what is wrong with it."""
    try:
        document = path.read_bytes()
    except OSError as error:
        raise CalibrationRefused(
            f"The calibration {path} cannot be read: {error.strerror}. Make one with "
            "`captionguard thresholds calibrate LABELS.jsonl --out FILE.json`."
        ) from error
    return parse_artifact(document, name=str(path))


def parse_artifact(document: bytes | str, *, name: str) -> Artifact:
    """An artifact from its JSON; `CalibrationRefused` says what is wrong with it."""
    try:
        return Artifact.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CalibrationRefused(
            f"{name} is no calibration of this version: {field}: {first['msg']}. Make a new one "
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
            f"The calibration was made for {artifact.made_for}, but the "
            f"model {spec} is {fingerprint}: the {what} differ. Scores would mean nothing. Make a "
            f"calibration with `captionguard thresholds calibrate LABELS.jsonl --model {spec} "
            "--out FILE.json` and set CAPTIONGUARD_CALIBRATION_FILE to it."
        )
    return artifact.to_calibration()
