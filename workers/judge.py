"""From scores to stored verdicts: decided, stored, counted and told, many at a time."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from moderation.batching import Stage
from moderation.errors import TemporaryFault, Unscorable
from moderation.logs import info_each
from moderation.store import submissions, verdicts
from moderation.store.cases import NewCase
from moderation.store.direct import KeptConnection
from moderation.store.verdicts import OpenCase
from moderation.types import PairScore, Reason, Verdict
from moderation.verdict import decide, unscorable
from moderation.wiring import Services
from workers.journey import Journey
from workers.published import Calibrations
from workers.recovery import until_database_answers

log = structlog.get_logger()

_LONGEST_WAIT_S = 300.0
_MOST_AT_ONCE = 1024

Judged = tuple[Journey, Verdict]


class Judge:
    """Takes journeys whose outcome is known, on one thread of its own.

    Whatever came while it stored the ones before goes into one transaction: a thread that is
    woken between forward passes finds the CPU's caches full of weights, and one journey then
    costs it as much as dozens.
    """

    def __init__(
        self,
        services: Services,
        calibrations: Calibrations,
        worker_id: UUID,
        open_case: OpenCase,
        on_stored: Callable[[dict[UUID, NewCase | None]], object],
    ) -> None:
        self._services = services
        self._calibrations = calibrations
        self._worker_id = worker_id
        self._open_case = open_case
        self._on_stored = on_stored
        self._kept = KeptConnection(services.database)
        self._stage: Stage[Journey] = Stage(
            self._work_off, max_items=_MOST_AT_ONCE, name="captionguard-judge", max_staged=2**31
        )

    def take(self, journeys: Sequence[Journey]) -> None:
        """Judge these next; each one's carrier learns when it is seen to."""
        self._stage.submit(journeys)

    def close(self) -> None:
        """Finish what has come in, then stop."""
        self._stage.close()
        self._kept.close()

    def _work_off(self, journeys: Sequence[Journey]) -> None:
        left = Counter(journey.carrier for journey in journeys)
        fault: BaseException | None = None
        try:
            self._judge(journeys)
        except BaseException as error:
            # Whoever has the message sends it again, or has it sent.
            fault = error
        for carrier, count in left.items():
            carrier.see_to(count, fault)

    def _judge(self, journeys: Sequence[Journey]) -> None:
        judged: dict[UUID, Judged] = {}
        put_off: list[Journey] = []
        for journey in journeys:
            verdict = self._conclude(journey)
            if verdict is None:
                put_off.append(journey)
            else:
                # One that two messages carried, after a pause: of two verdicts the first counts.
                judged.setdefault(journey.submission.id, (journey, verdict))
        if put_off:
            self._put_off(put_off)
        if judged:
            self._tell(judged, self._store(judged))

    def _conclude(self, journey: Journey) -> Verdict | None:
        """The journey's verdict; None, and its fault, if that may pass."""
        in_force = journey.published.for_policy(journey.submission.policy)
        calibration = in_force.decides(journey.submission.id)
        outcome = journey.outcome
        if isinstance(outcome, PairScore):
            return decide(outcome, calibration)
        if isinstance(outcome, Unscorable):
            is_passing = outcome.reason is Reason.IMAGE_DECODER_FAILED
            if not is_passing or journey.submission.faults:
                return unscorable(outcome.reason, outcome.detail, calibration)
            # A machine that was paused or out of memory looks the same: one more try tells.
            journey.fault = TemporaryFault(outcome.reason, outcome.detail)
        elif isinstance(outcome, TemporaryFault):
            journey.fault = outcome
        else:
            log.error("scoring_failed", id=str(journey.submission.id), exc_info=outcome)
            journey.fault = TemporaryFault(Reason.SCORING_FAILED, type(outcome).__name__)
        tries = journey.submission.faults + 1
        if tries < self._services.settings.max_attempts:
            return None
        detail = f"{journey.fault.detail} (given up after {tries} tries)"
        return unscorable(journey.fault.reason, detail, calibration)

    def _store(self, judged: Mapping[UUID, Judged]) -> set[UUID]:
        """Store verdicts in one transaction; the ids whose verdict is the first of theirs."""
        started_s = time.perf_counter()
        pairs = [(id_, verdict) for id_, (_, verdict) in judged.items()]
        # Once for all tries: what is drawn is drawn with one probability.
        opened = {id_: self._open_case(id_, verdict) for id_, verdict in pairs}

        def store() -> set[UUID]:
            with self._kept.transaction() as connection:
                return verdicts.record(connection, pairs, lambda id_, _: opened[id_])

        first = until_database_answers(store)
        self._on_stored(opened)
        self._services.metrics.stages["persist"].observe(time.perf_counter() - started_s)
        return first

    def _put_off(self, journeys: Sequence[Journey]) -> None:
        """Give up the leases of what failed for now; the reconciler sends it again in time."""
        settings = self._services.settings

        def release() -> None:
            with self._services.database.begin() as connection:
                for journey in journeys:
                    wait_s = settings.retry_base_s * 2**journey.submission.faults
                    submissions.release(
                        connection,
                        [journey.submission.id],
                        worker=self._worker_id,
                        # Full jitter above half keeps faults that came together apart.
                        wait_s=min(wait_s, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0),  # noqa: S311
                    )

        until_database_answers(release)
        for journey in journeys:
            if journey.fault is not None:
                self._services.metrics.retries.labels(journey.fault.reason.value).inc()
                log.warning(
                    "submission_put_off",
                    id=str(journey.submission.id),
                    tries=journey.submission.faults + 1,
                    reason=journey.fault.reason.value,
                    detail=journey.fault.detail,
                )

    def _tell(self, judged: Mapping[UUID, Judged], first: set[UUID]) -> None:
        """Count verdicts that are stored, and write the one log line of each submission."""
        metrics = self._services.metrics
        kinds: Counter[tuple[str, str]] = Counter()
        lines: list[dict[str, Any]] = []
        scores: list[float] = []
        for id_, (journey, verdict) in judged.items():
            if id_ not in first:
                continue
            kinds[verdict.outcome.value, verdict.reason or ""] += 1
            if verdict.score is not None:
                scores.append(verdict.score)
            if verdict.cosine is not None:
                in_force = journey.published.for_policy(journey.submission.policy)
                self._calibrations.compare(in_force, verdict.cosine)
            lines.append(_line(journey, verdict))
        metrics.match_scores.observe_all(scores)
        info_each("submission", lines)
        for (outcome, reason), count in kinds.items():
            metrics.verdicts.labels(outcome, reason).inc(count)


def _line(journey: Journey, verdict: Verdict) -> dict[str, Any]:
    submission = journey.submission
    line = {
        "id": submission.id,
        "platform": submission.platform,
        "policy": submission.policy,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "cosine": verdict.cosine,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "calibration": verdict.calibration_version,
        "notes": verdict.notes,
        "attempt": submission.attempts,
        "total_s": round(time.perf_counter() - journey.started_s, 4),
    }
    for name, seconds in journey.stages_s.items():
        line[f"{name}_s"] = round(seconds, 4)
    return line
