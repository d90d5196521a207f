"""What a worker judges with: the calibration it was started with, and what is published since."""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from moderation.errors import CalibrationRefused
from moderation.metrics import Metrics
from moderation.published import InForce, Published, Refusal, published
from moderation.scoring.model import ClipModel
from moderation.settings import Settings
from moderation.store import calibrations
from moderation.types import Calibration, PairScore
from moderation.verdict import decide
from thresholds.artifact import calibration_for, parse_artifact

log = structlog.get_logger()


def no_calibration(settings: Settings) -> CalibrationRefused:
    """Says how to come by one."""
    return CalibrationRefused(
        f"The model {settings.model} has no calibration, so its scores mean nothing yet. Make one "
        f"with `captionguard thresholds calibrate LABELS.jsonl --model {settings.model} --out "
        "FILE.json`, and set CAPTIONGUARD_CALIBRATION_FILE to it or publish it."
    )


class Calibrations:
    """What holds now, as one value: threads read it while another thread replaces it."""

    def __init__(self, model: ClipModel, base: Calibration | None, metrics: Metrics) -> None:
        self._model = model
        self._base = base
        self._metrics = metrics
        # What never changes is read once: with thousands of policies all of it takes seconds.
        self._loaded: dict[str, Calibration] = {}
        self._current: Published | None = None
        self._seen: int | None = None
        self._told: frozenset[int] = frozenset()

    @property
    def current(self) -> Published:
        """What to judge with; there is something as soon as `look` has returned once."""
        if self._current is None:
            raise RuntimeError("nobody has looked yet")
        return self._current

    def is_behind(self, newest: int | None) -> bool:
        """Whether anything was published since the last look, by the newest publication's id."""
        return self._current is None or newest != self._seen

    def look(self, connection: Connection) -> bool:
        """Take up what was published since the last look; whether there was anything.

        What cannot be acted on is told in the log and in a metric, and changes nothing else.
        Raises `CalibrationRefused` where there has never been anything to judge with.
        """
        if not self.is_behind(calibrations.newest_id(connection)):
            return False
        history = calibrations.history(connection)
        try:
            now, refusals = published(history, lambda v: self._load(connection, v), self._base)
        except CalibrationRefused as error:
            if self._current is None:
                raise
            # Another database than before, such as an older copy.
            log.error("publications_gone", reason=str(error))
            now, refusals = self._current, []
        self._tell(now, refusals)
        self._current = now
        self._seen = history[0].id if history else None
        return True

    def compare(self, in_force: InForce, cosine: float) -> None:
        """Count what live calibration and candidate say of a scored submission."""
        if in_force.candidate is None:
            return
        pair = PairScore(cosine)
        live, candidate = (
            decide(pair, calibration).outcome.value
            for calibration in (in_force.live, in_force.candidate)
        )
        self._metrics.shadow_verdicts.labels(
            in_force.policy, in_force.candidate.version, live, candidate
        ).inc()

    def _load(self, connection: Connection, version: str) -> Calibration:
        if (loaded := self._loaded.get(version)) is not None:
            return loaded
        stored = calibrations.stored(connection, [version])[version]
        artifact = parse_artifact(stored.artifact, name=version)
        calibration = calibration_for(
            artifact, fingerprint=self._model.fingerprint, spec=self._model.spec
        )
        # A later release may hash the same artifact to another version.
        self._loaded[version] = replace(calibration, version=version)
        return self._loaded[version]

    def _tell(self, now: Published, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals:
            if refusal.publication.id not in self._told:
                log.error(
                    "publication_refused",
                    reason=refusal.why,
                    **refusal.publication.to_document(),
                )
        self._told = frozenset(refusal.publication.id for refusal in refusals)
        self._metrics.refused_publications.set(len(refusals))
        before = {entry.id for entry in self._current.entries} if self._current else set()
        for entry in now.entries:
            if entry.id not in before:
                log.info("publication_taken_up", **entry.to_document())
        for in_force in (now.default, *now.own.values()):
            if in_force.candidate is not None:
                self._metrics.expect_shadow(in_force.policy, in_force.candidate.version)
