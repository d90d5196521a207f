"""Messages that a worker has taken: leased together, each done when its own posts are."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from moderation.demo import MODEL_CALIBRATION
from moderation.store import submissions
from moderation.store.submissions import Wanted
from moderation.types import ImageRef, NewSubmission
from moderation.wiring import Services
from tests.unit.threads import PATIENCE_S
from thresholds.artifact import parse_artifact
from workers.claims import Claims
from workers.journey import Journey
from workers.published import Calibrations

CALIBRATION = parse_artifact(MODEL_CALIBRATION.read_text(), name="demo").to_calibration()


class _Begun:
    """Stands in for what prepares posts: notes them, and lets the first ones wait."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.turns: list[list[Journey]] = []
        self.started, self.go_on = threading.Semaphore(0), threading.Event()
        self._fault = fault

    def begin(self, journeys: Sequence[Journey]) -> None:
        """Like `Preparation.begin`."""
        self.turns.append(list(journeys))
        self.started.release()
        assert self.go_on.wait(PATIENCE_S)
        if self._fault is not None:
            raise self._fault


@contextmanager
def _claims(services: Services, begun: Any) -> Iterator[Claims]:
    model: Any = SimpleNamespace(fingerprint=CALIBRATION.model, spec="demo-tiny")
    calibrations = Calibrations(model, CALIBRATION, services.metrics)
    with services.database.connect() as connection:
        calibrations.look(connection)
    claims = Claims(services, calibrations, uuid7(), begun)
    try:
        yield claims
    finally:
        begun.go_on.set()
        claims.close()


def _sent(services: Services, message_id: str, posts: int) -> Wanted:
    new = [NewSubmission("acme", None, "default", "a ball", ImageRef(blob="0" * 64))] * posts
    with services.database.begin() as connection:
        accepted = submissions.accept(connection, new, message_id=message_id)
    return Wanted(message_id, [item.id for item in accepted])


def _ids(journeys: Sequence[Journey]) -> set[UUID]:
    return {journey.submission.id for journey in journeys}


def test_single_posts_that_come_meanwhile_go_on_together(services: Services) -> None:
    """While one message is sent on others come: they are leased at once, and go on at once."""
    begun = _Begun()
    with _claims(services, begun) as claims:
        sent = [_sent(services, f"m{number}", 1) for number in range(4)]
        claims.take(sent[0])
        assert begun.started.acquire(timeout=PATIENCE_S)
        for wanted in sent[1:]:
            claims.take(wanted)
    assert [len(turn) for turn in begun.turns] == [1, 3]
    assert _ids(begun.turns[1]) == {id_ for wanted in sent[1:] for id_ in wanted.ids}


def test_a_message_is_done_when_its_own_posts_are(services: Services) -> None:
    """One whose posts nobody knows waits for nobody, one with two for both of them."""
    begun = _Begun()
    with _claims(services, begun) as claims:
        begun.go_on.set()
        two = _sent(services, "two", 2)
        carrier = claims.take(two)
        claims.take(Wanted("unknown", [uuid7()])).wait()
        journeys = [journey for turn in begun.turns for journey in turn]
        assert _ids(journeys) == set(two.ids)
        waiting = threading.Thread(target=carrier.wait)
        waiting.start()
        journeys[0].carrier.see_to(1)
        waiting.join(0.05)
        assert waiting.is_alive(), "one of two posts is not seen to"
        journeys[1].carrier.see_to(1)
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive()


def test_a_fault_reaches_each_message(services: Services) -> None:
    """Whoever has one of them learns that it was not worked off, and the next ones are."""
    begun = _Begun(fault=OSError("no more threads"))
    with _claims(services, begun) as claims:
        carriers = [claims.take(_sent(services, f"m{number}", 1)) for number in range(3)]
        begun.go_on.set()
        for carrier in carriers:
            with pytest.raises(OSError, match="no more threads"):
                carrier.wait()
