"""Moderators' decisions as labels: what they decided, weighted by how it came to them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, select

from moderation import addresses
from moderation.demo import MODEL_CALIBRATION, MODEL_NAME
from moderation.errors import InputRefused
from moderation.quality.estimates import FEWEST_AUDITS, FEWEST_FLAGS
from moderation.quality.figures import Reviewed
from moderation.quality.weighting import Weighted, weigh
from moderation.settings import Settings
from moderation.store import database, decisions
from moderation.store.decisions import Answer, DrawnPair
from moderation.store.tables import calibrations
from moderation.store.verdict_counts import BINS
from thresholds.artifact import read_artifact
from thresholds.labels import Labels
from thresholds.models import NamedModel, load_identity

_SAID = (None, *Answer)


@dataclass(frozen=True, slots=True)
class DecidedPair:
    """A pair that people called a match or a mismatch, and for how many scored ones it stands."""

    cosine: float
    is_match: bool
    weight: float
    image: str
    caption: str


@dataclass(frozen=True, slots=True)
class Decided:
    """Labels from decisions, in the order of `captions` and `images`, and what to mind of them."""

    labels: Labels
    model: NamedModel
    captions: tuple[str, ...]
    images: tuple[str, ...]
    doubts: tuple[str, ...]


def read_decisions(
    settings: Settings, *, model: str | None = None, since: datetime | None = None
) -> Decided:
    """Read what was decided on verdicts of `model`, or of the set one.

    Of submissions that came in at or after `since`. One that came to review with probability π
    weighs 1/π, and more where others like it are not settled yet. Raises `InputRefused` where
    nothing was decided.
    """
    engine = database.connect(addresses.database_url(settings))
    try:
        with engine.connect() as connection:
            named = _model(connection, settings, model)
            pairs, doubts = _labelled(connection, named.fingerprint, since)
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
        doubts,
    )


def labelled(
    connection: Connection, *, model: str, since: datetime | None = None
) -> list[DecidedPair]:
    """What stands on each submission that was flagged or audited: a match or a mismatch.

    Only of verdicts by `model`, a fingerprint, on what came in at or after `since`.
    """
    return _labelled(connection, model, since)[0]


def _labelled(
    connection: Connection, model: str, since: datetime | None
) -> tuple[list[DecidedPair], tuple[str, ...]]:
    """Pairs with their weights, and what these do not stand for."""
    drawn = decisions.drawn(connection, model=model, since=since)
    flagged = [pair for pair in drawn if pair.is_flagged]
    audited = [pair for pair in drawn if not pair.is_flagged]
    parts = [int(pair.score * BINS) for pair in flagged]
    flags = weigh(_reviewed(flagged, parts), Counter(parts), fewest=FEWEST_FLAGS)
    count = decisions.passes(connection, model=model, since=since)
    # Audits are answered as they come, whatever their score is.
    passes = weigh(_reviewed(audited, [0] * len(audited)), {0: count}, fewest=FEWEST_AUDITS)
    pairs = [
        DecidedPair(
            pair.cosine, pair.settled is Answer.MATCH, float(weight), pair.image, pair.caption
        )
        for cases, weighted in ((flagged, flags), (audited, passes))
        for pair, weight in zip(cases, weighted.weights, strict=True)
        if weight > 0 and pair.settled in (Answer.MATCH, Answer.MISMATCH)
    ]
    return pairs, tuple(_doubts(flags, passes, count))


def _reviewed(pairs: Sequence[DrawnPair], strata: Sequence[int]) -> Reviewed:
    first, second, settled = (
        np.array([_SAID.index(said) for said in each], np.int64)
        for each in (
            [pair.first for pair in pairs],
            [pair.second for pair in pairs],
            [pair.settled for pair in pairs],
        )
    )
    return Reviewed(
        strata=np.array(strata, np.int64),
        weights=np.array([1 / pair.probability for pair in pairs]),
        first=first,
        settled=settled,
        cases=np.ones(len(pairs), np.int64),
        second=second,
    )


def _doubts(flags: Weighted, passes: Weighted, count: int) -> Iterator[str]:
    if passes.unseen >= 1:
        yield (
            f"Of {count:,} submissions that passed, nobody has decided on an audit: these labels "
            "are of what was flagged, and what passes is unlike it."
        )
    if flags.unreached >= 1:
        yield (
            f"Of about {flags.unreached:,.0f} flags hardly any of like score is decided on: labels "
            "of other scores stand for them."
        )
    waiting = flags.waiting + passes.waiting
    if waiting >= 1:
        yield (
            f"Answers that stand for {waiting:,.0f} submissions wait for a second person or a "
            "lead, and none like them is settled: no label stands for them."
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
