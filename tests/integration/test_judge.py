"""Outcomes to stored verdicts: each submission once, whatever carried it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from moderation.demo import MODEL_CALIBRATION
from moderation.published import InForce, Published
from moderation.review.opening import opening
from moderation.scoring.flights import Outcome
from moderation.store import secrets, submissions
from moderation.store.cases import NewCase
from moderation.store.submissions import Wanted
from moderation.types import ImageRef, NewSubmission, PairScore, Submission
from moderation.wiring import Services
from thresholds.artifact import parse_artifact
from workers.journey import Carrier, Journey
from workers.judge import Judge
from workers.published import Calibrations

CALIBRATION = parse_artifact(MODEL_CALIBRATION.read_text(), name="demo").to_calibration()
MATCH, MISMATCH = PairScore(0.9), PairScore(-0.9)


def _claimed(services: Services) -> Submission:
    new = NewSubmission("acme", None, "default", "a ball", ImageRef(blob="0" * 64))
    with services.database.begin() as connection:
        (item,) = submissions.accept(connection, [new], message_id="m")
        wanted = Wanted("m", [item.id])
        (one,) = submissions.claim(connection, [wanted], worker=uuid7(), lease_s=60)["m"]
    return one


def _judge(services: Services, opened: list[dict[UUID, NewCase | None]]) -> Judge:
    model: Any = SimpleNamespace(fingerprint=CALIBRATION.model, spec="demo-tiny")
    with services.database.begin() as connection:
        open_case = opening(secrets.draws(connection), twice_share=0.0)
    calibrations = Calibrations(model, CALIBRATION, services.metrics)
    return Judge(services, calibrations, uuid7(), open_case, opened.append)


@pytest.mark.parametrize(
    ("outcomes", "stored"),
    [([MISMATCH, MATCH], "flag"), ([MATCH, MISMATCH], "pass"), ([OSError(), MATCH], "pass")],
)
def test_what_two_messages_carried_is_stored_and_counted_once(
    services: Services, outcomes: Sequence[Outcome], stored: str
) -> None:
    """The first verdict counts; both messages are seen to."""
    submission = _claimed(services)
    published = Published(InForce("default", CALIBRATION))
    carriers = [Carrier() for _ in outcomes]
    journeys = [Journey(submission, carrier, published) for carrier in carriers]
    for carrier in carriers:
        carrier.expect(1)
    for journey, outcome in zip(journeys, outcomes, strict=True):
        journey.outcome = outcome
    opened: list[dict[UUID, NewCase | None]] = []
    judge = _judge(services, opened)
    judge.take(journeys)
    for carrier in carriers:
        carrier.wait()
    judge.close()
    with services.database.connect() as connection:
        assert connection.scalars(text("SELECT outcome FROM verdicts")).all() == [stored]
        cases = connection.scalars(text("SELECT submission_id FROM cases")).all()
    assert cases == ([submission.id] if stored == "flag" else [])
    assert [list(each) for each in opened] == [[submission.id]]
    value = services.metrics.registry.get_sample_value
    assert value("captionguard_verdicts_total", {"outcome": stored, "reason": ""}) == 1
