"""Pairs through the real pipeline: stored, sent over Redis, and timed until they are committed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from moderation.errors import InputRefused, ServiceUnavailable
from moderation.queue import MAX_ITEMS, QUEUE, SCORE_TASK, new_message_id
from moderation.store import submissions
from moderation.types import ImageRef, NewSubmission
from workers.bench.photos import Photo
from workers.bench.rig import Rig, WorkerProcess
from workers.bench.usage import WorkerUsage

# Without one more verdict for so long, the worker is stuck.
_PATIENCE_S = 120.0
# Each look takes the worker some of the cores.
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Message:
    """A message that can be sent: its rows and images are stored."""

    id: str
    submissions: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """What one run of the pipeline showed, and what the workers used for it.

    `pairs_per_s` is the sustained rate, `all_per_s` the one from sending to the last verdict.
    """

    pairs: int
    pairs_per_s: float
    all_per_s: float
    usage: WorkerUsage


def store(rig: Rig, photos: Iterable[Photo], *, in_a_message: int = MAX_ITEMS) -> list[Message]:
    """Do what the API does before it sends: images into the blob store, rows into PostgreSQL."""
    messages = []
    waiting = iter(photos)
    while some := list(islice(waiting, in_a_message)):
        message_id = new_message_id()
        items = [
            NewSubmission("bench", None, "default", p.caption, ImageRef(blob=rig.blobs.put(p.data)))
            for p in some
        ]
        with rig.database.begin() as connection:
            accepted = submissions.accept(connection, items, message_id=message_id)
        messages.append(Message(message_id, tuple(answer.id for answer in accepted)))
    return messages


def run_flow(
    rig: Rig,
    workers: Sequence[WorkerProcess],
    photos: Iterable[Photo],
    *,
    left_out: int,
    turn: int,
) -> Flow:
    """Send photos as packed messages and time the verdicts while the queue is full.

    The rate is that of the commits after which `left_out` pairs were still to be done: neither
    what comes before the first nor what runs dry counts. `turn` pairs fill all lanes once.
    """
    messages = store(rig, photos)
    pairs = sum(len(message.submissions) for message in messages)
    before, sent_s = WorkerUsage.before(workers), time.time()
    send(rig, messages)
    wait_until_done(rig, pairs)
    usage = WorkerUsage.after(workers).since(before)
    check_scored(cosines(rig, messages))
    done_s = np.sort(commit_times_s(rig, messages))
    forget(rig, messages)
    all_per_s = pairs / (float(done_s[-1]) - sent_s)
    return Flow(pairs, sustained_per_s(done_s, left_out=left_out, turn=turn), all_per_s, usage)


def send(rig: Rig, messages: Sequence[Message]) -> None:
    """Put messages into Redis."""
    for message in messages:
        rig.queue.send(message.submissions, message_id=message.id)


@contextmanager
def ready(rig: Rig, messages: Sequence[Message]) -> Iterator[Callable[[], object]]:
    """Make messages, and give what sends the next of them at the cost of one small write.

    Senders are other machines; here they would take the cores of the worker that is measured.
    """
    waiting = rig.queue.app.conf.task_default_queue + "-ready"
    for message in messages:
        rig.queue.app.send_task(
            SCORE_TASK,
            args=[{"ids": [str(id_) for id_ in message.submissions]}],
            task_id=message.id,
            queue=waiting,
        )
    pool = rig.queue.redis.connection_pool
    connection: Any = pool.get_connection()
    try:
        # An answer that nobody reads would fill the socket in time.
        connection.send_command("CLIENT", "REPLY", "OFF")
        move = connection.pack_command("LMOVE", waiting, QUEUE, "RIGHT", "LEFT")
        yield lambda: connection.send_packed_command(move, check_health=False)
        # A check of its health would wait for an answer, and they are off until this one.
        connection.send_command("CLIENT", "REPLY", "ON", check_health=False)
        connection.read_response()
        left = rig.queue.redis.llen(waiting)
        if left:
            raise ServiceUnavailable(f"Redis moved all but {left} messages; is its memory full?")
    finally:
        connection.disconnect()
        pool.release(connection)


def wait_until_done(rig: Rig, expected: int) -> None:
    """Wait until nothing is pending. Raises `ServiceUnavailable` when a worker is stuck."""
    left, changed_s = expected, time.monotonic()
    while left:
        time.sleep(_LOOK_EVERY_S)
        with rig.database.connect() as connection:
            now_left = submissions.count_pending(connection, at_most=1_000_000)
        if now_left != left:
            left, changed_s = now_left, time.monotonic()
        elif time.monotonic() - changed_s > _PATIENCE_S:
            raise ServiceUnavailable(f"The worker stopped with {left} pairs left; see its log.")


def commit_times_s(rig: Rig, messages: Sequence[Message]) -> NDArray[np.float64]:
    """When each submission's verdict was committed, Unix seconds, in the messages' order."""
    ids = [id_ for message in messages for id_ in message.submissions]
    with rig.database.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT submission_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) AS at "
                "FROM verdicts WHERE submission_id = ANY(:ids)"
            ),
            {"ids": ids},
        )
        times = {row.submission_id: float(row.at) for row in rows}
    return np.array([times[id_] for id_ in ids])


def cosines(rig: Rig, messages: Sequence[Message]) -> list[float | None]:
    """The stored cosine of each submission, in the messages' order."""
    ids = [id_ for message in messages for id_ in message.submissions]
    with rig.database.connect() as connection:
        found = {
            status.submission.id: status.verdict.cosine if status.verdict else None
            for status in submissions.find(connection, ids, platform=None)
        }
    return [found[id_] for id_ in ids]


def check_scored(found: Sequence[float | None]) -> list[float]:
    """The cosines, all of which must be there: what cannot be scored is done in no time."""
    missing = sum(cosine is None for cosine in found)
    if missing:
        raise InputRefused(
            f"{missing} of {len(found)} pairs cannot be scored; take out images that cannot be "
            "decoded and captions without a word."
        )
    return [cosine for cosine in found if cosine is not None]


def forget(rig: Rig, messages: Sequence[Message]) -> None:
    """Drop rows that are done, so that a long run measures what a short one does."""
    ids = [id_ for message in messages for id_ in message.submissions]
    with rig.database.begin() as connection:
        for statement in (
            "DELETE FROM cases WHERE submission_id = ANY(:ids)",
            "DELETE FROM verdicts WHERE submission_id = ANY(:ids)",
            "DELETE FROM submissions WHERE id = ANY(:ids)",
        ):
            connection.execute(text(statement), {"ids": ids})


def sustained_per_s(done_s: NDArray[np.float64], *, left_out: int, turn: int) -> float:
    """Pairs a second until the queue runs dry, which it does in the last `left_out`.

    Lanes finish dozens of pairs at once and each at its own time, so that a rate between two
    commits hangs on which two. It is taken between the mean of the first and that of the last
    `turn` commits, which are as many as all lanes hold at a time, or more if more came at once.
    """
    until_s = done_s[max(1, len(done_s) - left_out) - 1]
    steady_s = done_s[done_s <= until_s]
    few = max(turn, int(np.unique(steady_s, return_counts=True)[1].max()))
    if len(steady_s) < 2 * few:
        # Too few pairs for two means: all of them, start and end included.
        return len(done_s) / max(1e-9, float(done_s[-1] - done_s[0]))
    passed_s = np.mean(steady_s[-few:]) - np.mean(steady_s[:few])
    return (len(steady_s) - few) / float(passed_s)
