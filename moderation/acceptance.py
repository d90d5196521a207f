"""Accepting submissions: images to the blob store, rows to PostgreSQL, then one message."""

from collections.abc import Sequence

import structlog

from moderation.errors import InputRefused, ServiceUnavailable
from moderation.intake import SubmissionIn
from moderation.queue import new_message_id
from moderation.store import submissions
from moderation.store.submissions import Accepted
from moderation.types import NewSubmission
from moderation.wiring import Services

log = structlog.get_logger()


def accept(services: Services, items: Sequence[SubmissionIn], *, platform: str) -> list[Accepted]:
    """Store up to 256 submissions and send them as one message; answers in their order.

    The message goes after the commit. If Redis does not take it, the reconciler sends it:
    a stored submission is never lost. Raises `InputRefused` before anything is stored,
    and `TemporaryFault` when the blob store does not answer.
    """
    _check_sizes(services, items)
    new = [_place(services, item, platform) for item in items]
    message_id = new_message_id()
    with services.database.begin() as connection:
        accepted = submissions.accept(connection, new, message_id=message_id)
    fresh = [answer.id for answer in accepted if not answer.known]
    services.metrics.submissions.labels("api", "new").inc(len(fresh))
    services.metrics.submissions.labels("api", "known").inc(len(accepted) - len(fresh))
    if fresh:
        try:
            services.queue.send(fresh, message_id=message_id)
        except ServiceUnavailable as error:
            log.warning("message_not_sent", message_id=message_id, items=len(fresh), why=str(error))
    return accepted


def _check_sizes(services: Services, items: Sequence[SubmissionIn]) -> None:
    limit = services.settings.max_image_bytes
    for item in items:
        if item.image_base64 is not None and not 0 < len(item.image_base64) <= limit:
            raise InputRefused(
                f"the image must have between 1 and {limit} bytes, has {len(item.image_base64)}",
                field="image_base64",
            )


def _place(services: Services, item: SubmissionIn, platform: str) -> NewSubmission:
    blob = None
    if item.image_base64 is not None:
        blob = services.blobs.put(item.image_base64)
    return item.to_new(platform, blob=blob)
