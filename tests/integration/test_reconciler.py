"""The reconciler sends again what is lost, and nothing that merely waits."""

import base64
import json
from uuid import UUID, uuid4

import pytest

from moderation.acceptance import accept
from moderation.intake import SubmissionIn
from moderation.queue import QUEUE
from moderation.store import submissions, workers
from moderation.store.submissions import Wanted
from moderation.store.workers import WorkerInfo
from moderation.wiring import Services
from workers.upkeep import Reconciler


@pytest.fixture
def services(services: Services) -> Services:
    """Services where what nobody holds counts as lost at the second look."""
    settings = services.settings.model_copy(update={"lost_after_s": 1e-9, "lease_s": 60.0})
    return Services(settings, services.database, services.queue, services.blobs, services.metrics)


def submit(services: Services, count: int = 3) -> list[UUID]:
    """Accept a batch, as the API does."""
    items = [SubmissionIn(caption="a ball", image_blob="0" * 64) for _ in range(count)]
    return [answer.id for answer in accept(services, items, platform="acme")]


def take(services: Services) -> tuple[str, list[UUID]]:
    """Take the oldest message from Redis, as a worker does before it is killed."""
    raw = services.queue.redis.rpop(QUEUE)
    assert raw is not None
    envelope = json.loads(raw)
    document = json.loads(base64.b64decode(envelope["body"]))[0][0]
    return envelope["headers"]["id"], [UUID(id_) for id_ in document["ids"]]


def beat(services: Services, *holding: str) -> UUID:
    """Make a living worker that holds messages."""
    info = WorkerInfo(uuid4(), "host", 1, "m", "c", None, None)
    with services.database.begin() as connection:
        workers.beat(connection, info, holding)
    return info.id


def passes(services: Services, count: int = 2) -> int:
    """Run the reconciler; how many submissions it sent again."""
    reconciler = Reconciler(services)
    return sum(reconciler.run_once() for _ in range(count))


def test_a_deep_queue_is_left_alone(services: Services) -> None:
    """What waits in Redis is not sent again, however often one looks."""
    for _ in range(5):
        submit(services)
    assert passes(services, 5) == 0
    assert services.queue.depth_messages() == 5


def test_an_emptied_redis_is_refilled(services: Services) -> None:
    """After a FLUSHALL every submission without a verdict is in exactly one new message."""
    ids = [id_ for _ in range(3) for id_ in submit(services)]
    services.queue.redis.flushall()
    assert passes(services, 4) == len(ids)
    found = [id_ for _ in range(services.queue.depth_messages()) for id_ in take(services)[1]]
    assert sorted(found) == sorted(ids)


def test_one_message_lost_among_waiting_ones(services: Services) -> None:
    """A message that left Redis and reached nobody is found beside those that wait."""
    lost = submit(services)
    services.queue.redis.rpop(QUEUE)
    # Waiting messages must be clearly younger than the lost one: clocks are compared.
    with services.database.begin() as connection:
        connection.exec_driver_sql("UPDATE submissions SET sent_at = sent_at - interval '1 min'")
    submit(services)
    submit(services)
    assert passes(services) == len(lost)
    assert services.queue.depth_messages() == 3


def test_what_a_living_worker_holds_is_not_lost(services: Services) -> None:
    """A message that a worker says it holds stays with it until the worker is dead."""
    ids = submit(services)
    message, _ = take(services)
    worker = beat(services, message)
    assert passes(services, 4) == 0
    with services.database.begin() as connection:
        workers.leave(connection, worker)
    assert passes(services) == len(ids)


def test_a_replaced_message_can_claim_nothing(services: Services) -> None:
    """Once its submissions were sent again, the old message finds nothing to do."""
    ids = submit(services)
    old, _ = take(services)
    assert passes(services) == len(ids)
    new, _ = take(services)
    worker = beat(services, old, new)

    def claim(message: str) -> int:
        with services.database.begin() as connection:
            wanted = [Wanted(message, ids)]
            leased = submissions.claim(connection, wanted, worker=worker, lease_s=60)
        return len(leased.get(message, []))

    assert claim(old) == 0
    assert claim(new) == len(ids)
    assert claim(new) == 0, "a message delivered twice is worked on once"


def test_a_fault_is_waited_out(services: Services) -> None:
    """A released submission is sent again when its wait is over, and not before."""
    ids = submit(services)
    message, _ = take(services)
    worker = beat(services, message)
    with services.database.begin() as connection:
        submissions.claim(connection, [Wanted(message, ids)], worker=worker, lease_s=60)
        submissions.release(connection, ids[:1], worker=worker, wait_s=-1)
        submissions.release(connection, ids[1:], worker=worker, wait_s=3600)
    assert passes(services, 3) == 1
    assert take(services)[1] == ids[:1]


def test_what_kills_workers_is_isolated(services: Services) -> None:
    """Each loss makes smaller messages, down to one submission each."""
    submit(services, 40)
    sizes = []
    for _ in range(3):
        held = [take(services) for _ in range(services.queue.depth_messages())]
        sizes.append(max(len(ids) for _, ids in held))
        worker = beat(services, *(message for message, _ in held))
        with services.database.begin() as connection:
            for message, ids in held:
                submissions.claim(connection, [Wanted(message, ids)], worker=worker, lease_s=60)
            workers.leave(connection, worker)
        assert passes(services) == 40
    assert sizes == [40, 16, 1]


def test_messages_of_platforms_do_not_hide_the_oldest_of_ours(services: Services) -> None:
    """Messages with other ids at the end of the queue are passed over."""
    submit(services)
    for _ in range(250):
        services.queue.redis.rpush(QUEUE, json.dumps({"headers": {"id": str(uuid4())}}))
    assert services.queue.oldest_waiting_since() is not None
    assert passes(services, 3) == 0


def test_behind_very_many_foreign_messages_nothing_is_taken_for_lost(services: Services) -> None:
    """Where looking for our oldest message would take too long, all of ours may still wait."""
    submit(services)
    foreign = json.dumps({"headers": {"id": str(uuid4())}})
    services.queue.redis.rpush(QUEUE, *[foreign] * 10_001)
    assert passes(services, 3) == 0
