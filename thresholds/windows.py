"""One look at a window of traffic: its drift, its rates, and the calibration it is held against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from moderation.errors import CalibrationRefused
from moderation.settings import Settings
from moderation.store import calibrations, history
from moderation.store.history import Group, Period
from moderation.types import Outcome
from thresholds.artifact import Artifact, parse_artifact
from thresholds.drift import Drift, Rates, drift_of, rates_of
from thresholds.versions import set_artifact


@dataclass(frozen=True, slots=True)
class Window:
    """What verdicts of a period look like."""

    period: Period
    drift: Drift
    rates: Rates
    calibration_version: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As tools read it."""
        return {
            "since": self.period.since.isoformat(),
            "until": self.period.until.isoformat(),
            "calibration": self.calibration_version,
            "items": self.drift.items,
            "psi": self.drift.psi,
            "psi_by_chance": self.drift.psi_by_chance,
            "wasserstein": self.drift.wasserstein,
            "prevalence": self.drift.prevalence,
            "reason": self.drift.reason,
            "verdicts": self.rates.verdicts,
            "flag_rate": self.rates.flag_rate,
            "unscorable_rate": self.rates.unscorable_rate,
            "caption_truncated_rate": self.rates.caption_truncated_rate,
            "models": list(self.rates.models),
        }


def live_version(groups: Sequence[Group]) -> str | None:
    """The calibration that judged most of a window's verdicts; None where there are none.

    Not the newest publication: policies have their own, and a candidate judges a share.
    """
    judged: Counter[str] = Counter()
    for group in groups:
        if group.outcome != Outcome.UNSCORABLE:
            judged[group.calibration_version] += group.verdicts
    return judged.most_common(1)[0][0] if judged else None


def artifact_of(connection: Connection, version: str, settings: Settings) -> Artifact | None:
    """The calibration of a version, if it was published or is the one that is set.

    Raises `CalibrationRefused` where it cannot be read.
    """
    stored = calibrations.stored(connection, [version]).get(version)
    if stored is not None:
        return parse_artifact(stored.artifact, name=version)
    artifact = set_artifact(settings)
    return artifact if artifact is not None and artifact.version == version else None


def look_at_live(
    connection: Connection, period: Period, settings: Settings, *, prevalence: float | None = None
) -> Window:
    """A window against the calibration that judged most of it; only what that one judged."""
    groups = history.groups(connection, period)
    rates, version = rates_of(groups), live_version(groups)
    if version is None:
        return Window(period, Drift(0, reason="no verdict has a score"), rates)
    try:
        artifact = artifact_of(connection, version, settings)
    except CalibrationRefused as error:
        artifact, reason = None, str(error)
    else:
        reason = f"{version}, which judged most of them, is neither published nor set here"
    if artifact is None:
        items = sum(g.verdicts for g in groups if g.outcome != Outcome.UNSCORABLE)
        return Window(period, Drift(items, reason=reason), rates, version)
    counts = history.histogram(
        connection, period, model=artifact.fingerprint, calibration_version=version
    )
    return Window(period, drift_of(counts, artifact, prevalence=prevalence), rates, version)


def look_at(
    connection: Connection, period: Period, artifact: Artifact, *, prevalence: float | None = None
) -> Window:
    """A window against a given calibration, whichever judged it: all cosines of its model."""
    counts = history.histogram(connection, period, model=artifact.fingerprint)
    if counts.any():
        drift = drift_of(counts, artifact, prevalence=prevalence)
    else:
        drift = Drift(0, reason="no verdict of the calibration's model has a score")
    rates = rates_of(history.groups(connection, period))
    return Window(period, drift, rates, artifact.version)
