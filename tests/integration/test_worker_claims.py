"""Messages that a worker has taken: leased together, each done when its own posts are."""

import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import psycopg
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
from workers.journey import Carrier, Journey
from workers.published import Calibrations

CALIBRATION = parse_artifact(MODEL_CALIBRATION.read_text(), name="demo").to_calibration()


class _Begun:
    """Stands in for what prepares posts: notes them, and lets the first ones wait."""

    def __init__(self) -> None:
        self.turns: list[list[Journey]] = []
        self.faults: list[Exception] = []
        self.started, self.go_on = threading.Semaphore(0), threading.Event()

    def begin(self, journeys: Sequence[Journey]) -> None:
        """Like `Preparation.begin`."""
        self.turns.append(list(journeys))
        self.started.release()
        assert self.go_on.wait(PATIENCE_S)
        if self.faults:
            raise self.faults.pop()


@pytest.fixture
def begun() -> _Begun:
    """What prepares posts, and waits until it may go on."""
    return _Begun()


@pytest.fixture
def calibrations(services: Services) -> Calibrations:
    """What is in force: a calibration of a file."""
    model: Any = SimpleNamespace(fingerprint=CALIBRATION.model, spec="demo-tiny")
    calibrations = Calibrations(model, CALIBRATION, services.metrics)
    with services.database.connect() as connection:
        calibrations.look(connection)
    return calibrations


@pytest.fixture
def claims(services: Services, begun: _Begun, calibrations: Calibrations) -> Iterator[Claims]:
    """The claims of one worker."""
    claims = Claims(services, calibrations, uuid7(), cast("Any", begun))
    yield claims
    begun.go_on.set()
    claims.close()


def _sent(services: Services, message_id: str, posts: int = 1) -> Wanted:
    new = [NewSubmission("acme", None, "default", "a ball", ImageRef(blob="0" * 64))] * posts
    with services.database.begin() as connection:
        accepted = submissions.accept(connection, new, message_id=message_id)
    return Wanted(message_id, [item.id for item in accepted])


def _ids(journeys: Sequence[Journey]) -> set[UUID]:
    return {journey.submission.id for journey in journeys}


def _waiting(carrier: Carrier) -> threading.Thread:
    thread = threading.Thread(target=carrier.wait, daemon=True)
    thread.start()
    return thread


def _is_done(waiting: threading.Thread) -> bool:
    waiting.join(PATIENCE_S)
    return not waiting.is_alive()


def test_single_posts_that_come_meanwhile_go_on_together(
    services: Services, begun: _Begun, claims: Claims
) -> None:
    """While one message is sent on others come: they are leased at once, and go on at once."""
    sent = [_sent(services, f"m{number}") for number in range(4)]
    claims.take(sent[0])
    assert begun.started.acquire(timeout=PATIENCE_S)
    for wanted in sent[1:]:
        claims.take(wanted)
    begun.go_on.set()
    claims.close()
    assert [len(turn) for turn in begun.turns] == [1, 3]
    assert _ids(begun.turns[1]) == {id_ for wanted in sent[1:] for id_ in wanted.ids}
    # Whatever was published in between.
    assert len({id(journey.published) for journey in begun.turns[1]}) == 1


def test_a_message_is_done_when_its_own_posts_are(
    services: Services, begun: _Begun, claims: Claims
) -> None:
    """One whose posts nobody knows waits for nobody, one with two for both of them."""
    two = _sent(services, "two", 2)
    waiting = _waiting(claims.take(two))
    assert begun.started.acquire(timeout=PATIENCE_S)
    begun.go_on.set()
    assert _is_done(_waiting(claims.take(Wanted("unknown", [uuid7()]))))
    journeys = begun.turns[0]
    assert _ids(journeys) == set(two.ids)
    journeys[0].carrier.see_to(1)
    waiting.join(0.05)
    assert waiting.is_alive(), "one of two posts is not seen to"
    journeys[1].carrier.see_to(1)
    assert _is_done(waiting)


def test_a_message_that_comes_twice_at_once_is_worked_off_once(
    services: Services, begun: _Begun, claims: Claims
) -> None:
    """Of two that are leased together one carries the post, and the other nothing."""
    claims.take(_sent(services, "first"))
    assert begun.started.acquire(timeout=PATIENCE_S)
    twice = _sent(services, "twice")
    waiting = [_waiting(claims.take(twice)) for _ in range(2)]
    begun.go_on.set()
    assert begun.started.acquire(timeout=PATIENCE_S)
    (journey,) = begun.turns[1]
    assert journey.submission.id == twice.ids[0]
    journey.carrier.see_to(1)
    assert all(map(_is_done, waiting))


@pytest.mark.parametrize("is_of_lease", [False, True])
def test_a_fault_reaches_its_own_messages_only(
    services: Services, begun: _Begun, claims: Claims, is_of_lease: bool
) -> None:
    """Whoever has one of them learns that it was not worked off, and the next one is."""
    begun.go_on.set()
    if is_of_lease:
        no_id: Any = "no id"
        wrong = Wanted("wrong", [no_id])
    else:
        wrong = _sent(services, "wrong")
        begun.faults.append(OSError("no more threads"))
    with pytest.raises((OSError, psycopg.Error)):
        claims.take(wrong).wait()
    waiting = _waiting(claims.take(_sent(services, "next")))
    while not begun.turns or not begun.turns[-1] or wrong.ids[0] in _ids(begun.turns[-1]):
        assert begun.started.acquire(timeout=PATIENCE_S)
    begun.turns[-1][0].carrier.see_to(1)
    assert _is_done(waiting)


def test_a_message_that_was_given_up_stays_so() -> None:
    """What is seen to afterwards takes nothing back, nor does a second fault."""
    carrier = Carrier()
    carrier.expect(1)
    carrier.give_up(OSError("the first"))
    carrier.see_to(1, RuntimeError("the second"))
    with pytest.raises(OSError, match="the first"):
        carrier.wait()
