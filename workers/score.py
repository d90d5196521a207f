"""One message: take it in, claim its submissions, and wait until each is seen to."""

from typing import Any
from uuid import UUID

import structlog

from moderation.intake import context_of, parse_message
from moderation.queue import packed_ids
from moderation.store import refused, submissions
from moderation.store.submissions import Wanted
from workers.recovery import until_database_answers
from workers.runtime import Runtime

log = structlog.get_logger()


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
        runtime.claims.take(Wanted(message_id, ids)).wait()
    finally:
        runtime.prefetch.end(len(ids))


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
