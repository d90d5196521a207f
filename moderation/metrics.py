"""Every metric of the product. No id, URL or caption is ever a label."""

import math
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from moderation.distributions import Distributions
from moderation.errors import SetupError
from moderation.review.metrics import ReviewMetrics
from moderation.settings import Settings
from moderation.types import Outcome, Reason

log = structlog.get_logger()

STAGES = ("queue_wait", "fetch", "decode", "batch_wait", "forward", "persist")
CPU_STAGES = ("fetch", "decode", "forward")
COPY_RESULTS = ("made", "shared", "put_off", "given_up")

_STAGE_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SCORE_BUCKETS = tuple(n / 20 for n in range(1, 21))


class Metrics:
    """The metrics of one process, on a registry of its own."""

    def __init__(self) -> None:
        # Creation times double the series and nobody asked for them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.submissions = Counter(
            "captionguard_submissions",
            "Submissions taken, by how they came and whether their external id was known.",
            ["source", "result"],
            registry=self.registry,
        )
        self.verdicts = Counter(
            "captionguard_verdicts",
            "Verdicts stored, by outcome and, if unscorable, its reason.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.stages = Distributions(
            "captionguard_stage_duration_seconds",
            "Time a submission (forward and persist: a batch) spends in a stage.",
            label="stage",
            values=STAGES,
            bounds=_STAGE_BUCKETS_S,
            registry=self.registry,
        ).of
        self._stage_cpu = Counter(
            "captionguard_stage_cpu_seconds",
            "CPU time of this process's threads in a stage; decoder processes have their own.",
            ["stage"],
            registry=self.registry,
        )
        # Looking a label up costs more than counting does, and this is done for every image.
        self.stages_cpu = {name: self._stage_cpu.labels(name) for name in CPU_STAGES}
        self.batch_items = Histogram(
            "captionguard_batch_items",
            "Images or captions, whichever are more, in one forward pass.",
            buckets=_BATCH_BUCKETS,
            registry=self.registry,
        )
        self.embeddings = Counter(
            "captionguard_embeddings",
            "Embeddings of images and captions that were needed, by where they came from.",
            ["kind", "source"],
            registry=self.registry,
        )
        (self.match_scores,) = Distributions(
            "captionguard_match_score",
            "Calibrated match scores of scored submissions.",
            bounds=_SCORE_BUCKETS,
            registry=self.registry,
        ).of.values()
        self.shadow_verdicts = Counter(
            "captionguard_shadow_verdicts",
            "What a candidate says of scored submissions, beside what the live calibration says.",
            # Policies are those that somebody published to, not whatever platforms send.
            ["policy", "version", "live", "candidate"],
            registry=self.registry,
        )
        self.refused_publications = Gauge(
            "captionguard_refused_publications",
            "Policies whose newest publication this worker cannot act on.",
            registry=self.registry,
        )
        self.retries = Counter(
            "captionguard_retries",
            "Tries put off after a temporary fault, by what failed.",
            ["reason"],
            registry=self.registry,
        )
        self.sent_again = Counter(
            "captionguard_sent_again",
            "Submissions sent again by the reconciler, because lost or because a wait was over.",
            ["why"],
            registry=self.registry,
        )
        # A rate sees the first event only of a series that was there before it.
        for why in ("lost", "wait_over"):
            self.sent_again.labels(why)
        for outcome in (Outcome.PASS, Outcome.FLAG):
            self.verdicts.labels(outcome.value, "")
        for reason in Reason:
            self.verdicts.labels(Outcome.UNSCORABLE.value, reason.value)
            self.retries.labels(reason.value)
        self._embedding_counts = {
            (kind, source): self.embeddings.labels(kind, source)
            for kind in ("image", "text")
            for source in ("computed", "in_flight", "memory", "redis")
        }
        self.refused_messages = Counter(
            "captionguard_refused_messages",
            "Messages of platforms that could not be read.",
            registry=self.registry,
        )
        self.image_copies = Counter(
            "captionguard_image_copies",
            "Tries to make a copy of a case's image for the desk, by what came of them.",
            ["result"],
            registry=self.registry,
        )
        for result in COPY_RESULTS:
            self.image_copies.labels(result)
        self.decoder_restarts = Counter(
            "captionguard_decoder_restarts",
            "Decoder processes replaced after a crash, a time-out or a broken answer.",
            registry=self.registry,
        )
        self.review = ReviewMetrics(self.registry)

    def count_embeddings(self, kind: str, source: str, count: int) -> None:
        """Count where embeddings of images or texts came from."""
        self._embedding_counts[kind, source].inc(count)

    def expect_shadow(self, policy: str, version: str) -> None:
        """Show the series of a candidate before there is anything to count."""
        for live in (Outcome.PASS, Outcome.FLAG):
            for candidate in (Outcome.PASS, Outcome.FLAG):
                self.shadow_verdicts.labels(policy, version, live.value, candidate.value)


def serve_metrics(settings: Settings, registry: CollectorRegistry, *, setting: str) -> str:
    """Show a process's `/metrics` on the port of a setting and return the URL.

    Where the default port is taken, by a second worker on this machine, a free one will do;
    a port that somebody set must be had, else `SetupError`.
    """
    host, port = settings.metrics_host, int(getattr(settings, setting))
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        if setting in settings.model_fields_set:
            raise SetupError(
                f"Port {port} is taken; set CAPTIONGUARD_{setting.upper()} to another, or to 0."
            ) from error
        server, _ = start_http_server(0, host, registry)
        log.warning("metrics_port_taken", wanted=port, got=server.server_port)
    named = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared
    return f"http://{named}:{server.server_port}/metrics"


class QueueMetrics:
    """The state of the queue, on the registry of whoever measures it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue_depth = Gauge(
            "captionguard_queue_depth",
            "Messages waiting in Redis.",
            registry=registry,
        )
        self.pending = Gauge(
            "captionguard_pending_submissions",
            "Submissions without a verdict; counts up to the queue's limit.",
            registry=registry,
        )
        self.oldest_pending_age = Gauge(
            "captionguard_oldest_pending_age_seconds",
            "Age of the oldest submission without a verdict.",
            registry=registry,
        )
        self.living_workers = Gauge(
            "captionguard_living_workers",
            "Workers whose beat is younger than a lease.",
            registry=registry,
        )


class WebhookMetrics:
    """What the scheduler's deliverer does, and what waits for it.

    The gauges are NaN while PostgreSQL does not answer; all schedulers show the same.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tries = Counter(
            "captionguard_webhook_tries",
            "Tries to deliver a webhook, delivered or failed.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("delivered", "failed"):
            self.tries.labels(outcome)
        self.given_up = Counter(
            "captionguard_webhook_given_up",
            "Webhooks that failed for good: in their last try, or as their endpoint was disabled.",
            registry=registry,
        )
        self.try_duration = Histogram(
            "captionguard_webhook_try_duration_seconds",
            "Time that a platform takes for a webhook, or that it was given.",
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self.pending = Gauge(
            "captionguard_webhook_pending",
            "Webhooks that are neither delivered nor given up.",
            registry=registry,
        )
        self.oldest_age = Gauge(
            "captionguard_webhook_oldest_pending_age_seconds",
            "Age of the oldest of them.",
            registry=registry,
        )
        self.overdue = Gauge(
            "captionguard_webhook_overdue_seconds",
            "For how long the try that is due first has not begun.",
            registry=registry,
        )
        self.forget()

    def forget(self) -> None:
        """Say that nothing is known of what waits."""
        for gauge in (self.pending, self.oldest_age, self.overdue):
            gauge.set(math.nan)


class DriftMetrics:
    """What the scheduler's watch sees of recent verdicts; NaN where nothing can be said.

    Also while another scheduler watches, so that none ever shows a zero that it did not see.
    """

    WINDOWS: ClassVar[Mapping[str, timedelta]] = {
        "1h": timedelta(hours=1),
        "1d": timedelta(days=1),
    }

    def __init__(self, registry: CollectorRegistry) -> None:
        self.psi = Gauge(
            "captionguard_drift_psi",
            "Population stability index of cosines against the calibration's reference.",
            ["window"],
            registry=registry,
        )
        self.psi_by_chance = Gauge(
            "captionguard_drift_psi_by_chance",
            "About the mean of that index where nothing has drifted.",
            ["window"],
            registry=registry,
        )
        self.wasserstein = Gauge(
            "captionguard_drift_wasserstein",
            "Distance of cosines from the reference, in its standard deviations.",
            ["window"],
            registry=registry,
        )
        self.items = Gauge(
            "captionguard_drift_items",
            "Scored verdicts that were compared with the reference.",
            ["window"],
            registry=registry,
        )
        self.flag_rate = Gauge(
            "captionguard_flag_rate",
            "Share of a window's verdicts that are flags.",
            ["window"],
            registry=registry,
        )
        self.unscorable_rate = Gauge(
            "captionguard_unscorable_rate",
            "Share of a window's verdicts that are unscorable.",
            ["window"],
            registry=registry,
        )
        self.caption_truncated_rate = Gauge(
            "captionguard_caption_truncated_rate",
            "Share of a window's verdicts that saw only the beginning of the caption.",
            ["window"],
            registry=registry,
        )
        self.models = Gauge(
            "captionguard_models",
            "Models that a window's verdicts come from.",
            ["window"],
            registry=registry,
        )
        self.forget()

    def forget(self) -> None:
        """Say that nothing is known."""
        for window in self.WINDOWS:
            for gauge in (
                self.psi,
                self.psi_by_chance,
                self.wasserstein,
                self.items,
                self.flag_rate,
                self.unscorable_rate,
                self.caption_truncated_rate,
                self.models,
            ):
                gauge.labels(window).set(math.nan)
