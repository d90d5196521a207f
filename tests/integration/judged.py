"""Submissions whose verdict a worker has just stored, and the cases that this has opened."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from moderation.draws import Draws
from moderation.review.opening import opening
from moderation.store import submissions, verdicts
from moderation.types import ImageRef, NewSubmission, Outcome, Verdict
from moderation.wiring import Services

LEASE = timedelta(seconds=60)
FLAG = Verdict(Outcome.FLAG, "c-1", "m", 0.35, cosine=0.1, score=0.2)


def judged(services: Services, *images: ImageRef, verdict: Verdict = FLAG) -> list[UUID]:
    """Submissions whose verdict a worker has just stored."""
    new = [NewSubmission("acme", None, "default", "a ball", image) for image in images]
    open_case = opening(Draws(b"k" * 32), twice_share=0.0)
    with services.database.begin() as connection:
        ids = [item.id for item in submissions.accept(connection, new, message_id="m")]
        verdicts.record(connection, [(id_, verdict) for id_ in ids], open_case)
    return ids


def case_of(services: Services, submission: UUID) -> dict[str, Any]:
    """The newest case of a submission."""
    query = text("SELECT * FROM cases WHERE submission_id = :id ORDER BY id DESC LIMIT 1")
    with services.database.connect() as connection:
        return dict(connection.execute(query, {"id": submission}).mappings().one())
