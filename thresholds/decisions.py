"""Moderators' decisions as labels: what they decided, weighted by how it came to them."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, select

from moderation import addresses
from moderation.demo import MODEL_CALIBRATION, MODEL_NAME
from moderation.errors import InputRefused
from moderation.settings import Settings
from moderation.store import database, decisions
from moderation.store.tables import calibrations
from thresholds.artifact import read_artifact
from thresholds.labels import Labels
from thresholds.models import NamedModel, load_identity


@dataclass(frozen=True, slots=True)
class Decided:
    """Labels from decisions, in the order of `captions` and `images`."""

    labels: Labels
    model: NamedModel
    captions: tuple[str, ...]
    images: tuple[str, ...]


def read_decisions(
    settings: Settings, *, model: str | None = None, since: datetime | None = None
) -> Decided:
    """Read what was decided on verdicts of `model`, or of the set one.

    A submission that came to review with probability π weighs 1/π, and more where others like
    it are not decided yet. Raises `InputRefused` where nothing was decided.
    """
    engine = database.connect(addresses.database_url(settings))
    try:
        with engine.connect() as connection:
            named = _model(connection, settings, model)
            pairs = decisions.labelled(connection, model=named.fingerprint, since=since)
            others = decisions.models_decided_on(connection)
    finally:
        engine.dispose()
    if not pairs:
        raise InputRefused(_nothing(named, others, since))
    labels = Labels.of(
        # Rounding may leave a cosine a little above 1.
        np.clip(np.array([pair.cosine for pair in pairs], dtype=np.float64), -1, 1),
        np.array([pair.is_match for pair in pairs], dtype=np.bool_),
        images=np.array([pair.image for pair in pairs], dtype=np.str_),
        weights=np.array([pair.weight for pair in pairs], dtype=np.float64),
    )
    return Decided(
        labels,
        named,
        tuple(pair.caption for pair in pairs),
        tuple(pair.image for pair in pairs),
    )


def _model(connection: Connection, settings: Settings, wanted: str | None) -> NamedModel:
    """Name and hashes of a model: of its calibration where there is one, else it is loaded."""
    path = settings.calibration_file
    if path is None and settings.model == MODEL_NAME:
        path = MODEL_CALIBRATION
    if path is not None:
        artifact = read_artifact(path)
        if wanted in (None, artifact.model, settings.model):
            return NamedModel(
                artifact.model, artifact.weights_sha256, artifact.preprocessing_sha256
            )
    spec = wanted or settings.model
    parts = [
        calibrations.c.artifact[name].as_string()
        for name in ("model", "weights_sha256", "preprocessing_sha256")
    ]
    newest = (
        select(*parts).where(parts[0] == spec).order_by(calibrations.c.created_at.desc()).limit(1)
    )
    published = connection.execute(newest).one_or_none()
    if published is not None:
        return NamedModel(*published)
    return load_identity(spec, settings)


def _nothing(model: NamedModel, others: dict[str, int], since: datetime | None) -> str:
    period = f" since {since:%Y-%m-%d %H:%M %Z}" if since else ""
    counted = ", ".join(f"{count} of {name}" for name, count in others.items())
    there_are = f"there are decisions on {counted}" if counted else "there are none at all"
    return (
        f"no pair that {model.spec} ({model.fingerprint}) has scored was called a match or a "
        f"mismatch{period}; {there_are}. Nothing was done"
    )
