"""What one worker process holds: model, calibration, images, engine, and the ways to PostgreSQL."""

import resource
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from moderation.media.decode import DecoderPool, open_decoder
from moderation.metrics import Metrics
from moderation.review.opening import opening
from moderation.scoring.engine import BatchReport, Engine, open_engine
from moderation.scoring.model import ClipModel, load_model
from moderation.settings import Settings
from moderation.store import secrets
from moderation.store.cases import NewCase
from moderation.types import Calibration
from moderation.wiring import Services
from thresholds.artifact import Artifact, calibration_for
from workers.auditing import Audits
from workers.claims import Claims
from workers.copies import Copier
from workers.judge import Judge
from workers.prefetch import Prefetch
from workers.prepare import Preparation
from workers.published import Calibrations

log = structlog.get_logger()

_OPEN_FILES = 65_536


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model, with the decoder and engine made for it, and the calibration it started with.

    That is None where only published calibrations are judged with.
    """

    model: ClipModel
    calibration: Calibration | None
    decoder: DecoderPool
    engine: Engine

    def close(self) -> None:
        """Stop the engine and the decoder processes."""
        self.engine.close()
        self.decoder.close()


def open_scorer(settings: Settings, metrics: Metrics, artifact: Artifact | None) -> Scorer:
    """Load the model; refuses a calibration that was not made for exactly it."""
    started_s = time.perf_counter()
    model = load_model(settings.model, device=settings.device)
    calibration = None
    if artifact is not None:
        calibration = calibration_for(artifact, fingerprint=model.fingerprint, spec=model.spec)

    def count(report: BatchReport) -> None:
        metrics.batch_items.observe(max(report.images, report.captions))
        metrics.stages["forward"].observe(report.forward_s)
        metrics.stages_cpu["forward"].inc(report.forward_cpu_s)
        metrics.stages["batch_wait"].observe_all(report.waits_s)

    engine = open_engine(model, settings, on_batch=count, on_embeddings=metrics.count_embeddings)
    log.info(
        "model_loaded",
        model=model.spec,
        fingerprint=model.fingerprint,
        weights_sha256=model.weights_sha256,
        device=str(model.device),
        precision=engine.choice.precision,
        fp32_s=engine.choice.fp32_s,
        bf16_s=engine.choice.bf16_s,
        max_drift=engine.choice.max_drift,
        cuts_captions=engine.choice.towers.can_cut,
        replaying=engine.choice.replaying and engine.choice.replaying.to_document(),
        lanes=engine.lanes,
        calibration=calibration.version if calibration else None,
        threshold=calibration.threshold if calibration else None,
        load_s=round(time.perf_counter() - started_s, 2),
    )
    return Scorer(
        model=engine.model,
        calibration=calibration,
        decoder=open_decoder(
            model.framing,
            settings,
            on_restart=metrics.decoder_restarts.inc,
            model_device=model.device.type,
        ),
        engine=engine,
    )


def allow_open_files() -> None:
    """Raise the soft limit of open files as far as this process may.

    A decoder takes two and one for each image of its turn: on a machine of many cores more
    than the 1,024 that are usual, and what cannot be opened then ends as unscorable.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Runtime:
    """Everything the score task works with; one a process, shared by its threads."""

    def __init__(
        self,
        services: Services,
        scorer: Scorer,
        calibrations: Calibrations,
        audits: Audits,
        worker_id: UUID,
        prefetch: Prefetch,
    ) -> None:
        self.prefetch = prefetch
        self.services = services
        self._scorer = scorer
        self.stopping = threading.Event()
        with services.database.begin() as connection:
            draws = secrets.draws(connection)
        open_case = opening(
            draws,
            twice_share=services.settings.review_twice_share,
            inclusion=audits.inclusion,
        )
        self._judge = Judge(services, calibrations, worker_id, open_case, self._copy)
        self._preparation = Preparation(services, scorer.decoder, scorer.engine, self._judge.take)
        self._copier = Copier(services, self._preparation.kept)
        self.claims = Claims(services, calibrations, worker_id, self._preparation)

    def close(self) -> None:
        """Finish what is under way, then let everything go."""
        self.claims.close()
        self._preparation.close()
        self._scorer.close()
        self._judge.close()
        self._copier.close()

    def _copy(self, opened: Mapping[UUID, NewCase | None]) -> None:
        """Have copies made of the images of cases that are stored, and forget all others."""
        self._preparation.kept.drop(id_ for id_, case in opened.items() if case is None)
        if any(opened.values()):
            self._copier.wake()
