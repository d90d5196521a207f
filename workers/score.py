"""One message: claim its submissions, prepare, score, decide, store."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any
from uuid import UUID

import structlog

from moderation.errors import TemporaryFault, Unscorable
from moderation.intake import context_of, parse_message
from moderation.published import Published
from moderation.queue import packed_ids
from moderation.store import refused, submissions
from moderation.store.submissions import Wanted
from moderation.types import Reason, Submission, Verdict
from moderation.verdict import decide, unscorable
from workers.prepare import Journey
from workers.recovery import until_database_answers
from workers.runtime import Runtime

log = structlog.get_logger()

_LONGEST_WAIT_S = 300.0


def handle_message(runtime: Runtime, document: Any, *, message_id: str) -> None:
    """Work one message off. One bad submission never harms its neighbours.

    The document is `{"ids": […]}` from the API and the reconciler, or what a platform
    would post to the API.
    """
    ids = packed_ids(document)
    if ids is None:
        ids = _take_in(runtime, document, message_id)
    runtime.prefetch.begin(len(ids))
    try:
        _work_off(runtime, runtime.claiming.submit(Wanted(message_id, ids)).result())
    finally:
        runtime.prefetch.end(len(ids))


def _work_off(runtime: Runtime, claimed: Sequence[Submission]) -> None:
    """Judge leased submissions; verdicts are stored in batches while later ones are made."""
    # A message keeps what it began with, whatever is published meanwhile.
    published = runtime.calibrations.current
    journeys = [Journey(submission) for submission in claimed]
    runtime.preparation.begin(journeys)
    under_way = iter(journeys)
    stored: list[tuple[list[Journey], Future[set[UUID]]]] = []
    while batch := list(islice(under_way, runtime.services.settings.max_batch_items)):
        for journey in batch:
            _conclude(runtime, journey, published)
        judged = [journey for journey in batch if journey.verdict is not None]
        _put_off(runtime, [journey for journey in batch if journey.verdict is None])
        if judged:
            pairs = [(j.submission.id, j.verdict) for j in judged if j.verdict is not None]
            stored.append((judged, runtime.recording.submit(pairs)))
    for judged, recorded in stored:
        first = recorded.result()
        told = [journey for journey in judged if journey.submission.id in first]
        _count(runtime, [journey.verdict for journey in told if journey.verdict is not None])
        for journey in told:
            _tell(runtime, journey, published)


def _take_in(runtime: Runtime, document: Any, message_id: str) -> list[UUID]:
    """Make the rows of submissions that a platform sent without the API."""
    taken, wrong = parse_message(
        document,
        message_id=message_id,
        context=context_of(runtime.services.settings),
    )

    def store() -> list[submissions.Accepted]:
        with runtime.services.database.begin() as connection:
            for item in wrong:
                refused.keep(
                    connection, message_id=message_id, problem=item.problem, body=item.body
                )
            return submissions.accept(connection, taken, message_id=message_id) if taken else []

    accepted = until_database_answers(store)
    for item in wrong:
        runtime.services.metrics.refused_messages.inc()
        log.error("message_refused", message_id=message_id, problem=item.problem)
    for answer in accepted:
        result = "known" if answer.known else "new"
        runtime.services.metrics.submissions.labels("message", result).inc()
    return [answer.id for answer in accepted]


def _conclude(runtime: Runtime, journey: Journey, published: Published) -> None:
    """Wait for the cosine and set the journey's verdict, or its fault if it may pass."""
    in_force = published.for_policy(journey.submission.policy)
    calibration = in_force.decides(journey.submission.id)
    try:
        journey.verdict = decide(journey.scored.result(), calibration)
    except Unscorable as error:
        if error.reason is Reason.IMAGE_DECODER_FAILED and journey.submission.faults == 0:
            # A machine that was paused or out of memory looks the same: one more try tells.
            journey.fault = TemporaryFault(error.reason, error.detail)
        else:
            journey.verdict = unscorable(error.reason, error.detail, calibration)
    except TemporaryFault as error:
        journey.fault = error
    except Exception as error:
        log.exception("scoring_failed", id=str(journey.submission.id))
        journey.fault = TemporaryFault(Reason.SCORING_FAILED, type(error).__name__)
    tries = journey.submission.faults + 1
    if journey.fault and tries >= runtime.services.settings.max_attempts:
        detail = f"{journey.fault.detail} (given up after {tries} tries)"
        journey.verdict = unscorable(journey.fault.reason, detail, calibration)


def _put_off(runtime: Runtime, journeys: Sequence[Journey]) -> None:
    """Give up the leases of what failed for now; the reconciler sends it again in time."""
    if not journeys:
        return
    settings = runtime.services.settings

    def release() -> None:
        with runtime.services.database.begin() as connection:
            for journey in journeys:
                wait_s = settings.retry_base_s * 2**journey.submission.faults
                submissions.release(
                    connection,
                    [journey.submission.id],
                    worker=runtime.worker_id,
                    # Full jitter above half keeps faults that came together from coming back so.
                    wait_s=min(wait_s, _LONGEST_WAIT_S) * random.uniform(0.5, 1.0),  # noqa: S311
                )

    until_database_answers(release)
    for journey in journeys:
        if journey.fault is not None:
            runtime.services.metrics.retries.labels(journey.fault.reason.value).inc()
            log.warning(
                "submission_put_off",
                id=str(journey.submission.id),
                tries=journey.submission.faults + 1,
                reason=journey.fault.reason.value,
                detail=journey.fault.detail,
            )


def _count(runtime: Runtime, verdicts: Sequence[Verdict]) -> None:
    """Count stored verdicts."""
    metrics = runtime.services.metrics
    kinds = Counter((verdict.outcome.value, verdict.reason or "") for verdict in verdicts)
    for (outcome, reason), count in kinds.items():
        metrics.verdicts.labels(outcome, reason).inc(count)
    for verdict in verdicts:
        if verdict.score is not None:
            metrics.match_scores.observe(verdict.score)


def _tell(runtime: Runtime, journey: Journey, published: Published) -> None:
    """Write the one log line of a submission whose verdict is stored."""
    verdict, submission = journey.verdict, journey.submission
    if verdict is None:
        return
    if verdict.cosine is not None:
        runtime.calibrations.compare(published.for_policy(submission.policy), verdict.cosine)
    log.info(
        "submission",
        id=str(submission.id),
        platform=submission.platform,
        policy=submission.policy,
        outcome=verdict.outcome.value,
        reason=verdict.reason,
        detail=verdict.detail,
        cosine=verdict.cosine,
        score=verdict.score,
        threshold=verdict.threshold,
        calibration=verdict.calibration_version,
        notes=list(verdict.notes),
        attempt=submission.attempts,
        total_s=round(time.perf_counter() - journey.started_s, 4),
        **{f"{name}_s": round(seconds, 4) for name, seconds in journey.stages_s.items()},
    )
