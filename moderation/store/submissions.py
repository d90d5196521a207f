"""Submissions: accepted, claimed by a worker under a lease, found again."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from moderation.queue import sent_at
from moderation.store.direct import Statement, ask
from moderation.store.tables import submissions, verdicts
from moderation.types import ImageRef, NewSubmission, Note, Outcome, Reason, Submission, Verdict


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one handed-in submission; `known` if its external id was there before."""

    id: UUID
    external_id: str | None
    known: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A submission and, once there is one, its verdict."""

    submission: Submission
    verdict: Verdict | None
    done_at: dt.datetime | None


def accept(
    connection: Connection, items: Sequence[NewSubmission], *, message_id: str
) -> list[Accepted]:
    """Store submissions that `message_id` will carry; answers in the order of `items`.

    An external id seen before, also within `items`, gives the first one back unchanged.
    """
    first: dict[tuple[str, str], NewSubmission] = {}
    rows = []
    for item in items:
        if item.external_id is not None:
            key = (item.platform, item.external_id)
            if key in first:
                continue
            first[key] = item
        rows.append(_new_row(item, message_id))
    # One order for all writers, so that two batches with the same ids cannot deadlock.
    rows.sort(key=lambda row: (row["platform"], row["external_id"] or ""))
    inserted = {
        row.id
        for row in connection.execute(
            insert(submissions).on_conflict_do_nothing().returning(submissions.c.id), rows
        )
    }
    known = {(row["platform"], row["external_id"]): row["id"] for row in rows}
    missing = [key for key in first if known[key] not in inserted]
    if missing:
        columns = (submissions.c.platform, submissions.c.external_id)
        for row in connection.execute(
            select(submissions.c.id, *columns).where(tuple_(*columns).in_(missing))
        ):
            known[row.platform, row.external_id] = row.id
    unnamed = iter([row["id"] for row in rows if row["external_id"] is None])
    answers = []
    told = set()
    for item in items:
        id_ = known[item.platform, item.external_id] if item.external_id else next(unnamed)
        answers.append(Accepted(id_, item.external_id, id_ not in inserted or id_ in told))
        told.add(id_)
    return answers


def _new_row(item: NewSubmission, message_id: str) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "platform": item.platform,
        "external_id": item.external_id,
        "policy": item.policy,
        "caption": item.caption,
        "image_blob": item.image.blob,
        "image_url": item.image.url,
        "message_id": message_id,
        # By the clock that the message carries: the two are compared.
        "sent_at": sent_at(message_id) or dt.datetime.now(dt.UTC),
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a message that a worker has taken carries."""

    message_id: str
    ids: Sequence[UUID]


# The sub-query locks in one order, and passes over what another worker is claiming. Written as
# `done_at IS NULL` it would be read from an index of all that waits, which the planner takes for
# empty when the table was last analysed while nothing did.
_CLAIM = Statement(
    "claim",
    """
    WITH claimed AS (
        UPDATE submissions SET lease_worker = CAST($1::json ->> 'worker' AS uuid), retry_at = NULL,
                               attempts = attempts + 1
        WHERE id = ANY(ARRAY(
            SELECT id FROM submissions
            WHERE id = ANY(ARRAY(SELECT CAST(json_array_elements_text($1::json -> 'ids') AS uuid)))
                AND message_id = ANY(ARRAY(SELECT json_array_elements_text($1::json -> 'messages')))
                AND coalesce(done_at, 'infinity') = 'infinity'
                AND NOT EXISTS (
                    SELECT FROM workers WHERE workers.id = submissions.lease_worker
                    AND beat_at > now()
                        - CAST($1::json ->> 'lease_s' AS double precision) * interval '1 s'
                )
            ORDER BY id FOR UPDATE SKIP LOCKED
        ))
        RETURNING message_id, id, platform, external_id, policy, caption, image_blob, image_url,
                  created_at, attempts, faults
    )
    SELECT json_agg(json_build_array(
        message_id, id, platform, external_id, policy, caption, image_blob, image_url,
        created_at, attempts, faults
    )) FROM claimed
    """,
)


def claim(
    connection: Connection, messages: Sequence[Wanted], *, worker: UUID, lease_s: float
) -> dict[str, list[Submission]]:
    """Lease what messages carry, by message: what has no verdict, belongs to it, and is free.

    A message that was replaced by a newer one, or is delivered twice, claims nothing.
    """
    asked = {
        "ids": [id_ for message in messages for id_ in message.ids],
        "messages": [message.message_id for message in messages],
        "worker": worker,
        "lease_s": lease_s,
    }
    leased: dict[str, list[Submission]] = {}
    for row in ask(connection, _CLAIM, asked) or []:
        message_id, id_, platform, external_id, policy, caption, blob, url, came_at, *tries = row
        image = ImageRef(blob=blob, url=url)
        created_at = dt.datetime.fromisoformat(came_at)
        submission = Submission(
            UUID(id_), platform, external_id, policy, caption, image, created_at, *tries
        )
        leased.setdefault(message_id, []).append(submission)
    return leased


def release(connection: Connection, ids: Sequence[UUID], *, worker: UUID, wait_s: float) -> None:
    """Give leased submissions back after a temporary fault, to be sent again in `wait_s`."""
    connection.execute(
        update(submissions)
        .where(
            submissions.c.id.in_(ids),
            submissions.c.lease_worker == worker,
            submissions.c.done_at.is_(None),
        )
        .values(
            lease_worker=None,
            retry_at=func.now() + dt.timedelta(seconds=wait_s),
            faults=submissions.c.faults + 1,
        )
    )


def find(connection: Connection, ids: Sequence[UUID], *, platform: str | None) -> list[Status]:
    """Those of `ids` that exist, of one platform or, with None, of any."""
    query = (
        select(submissions, *(column.label(f"v_{column.name}") for column in verdicts.c))
        .outerjoin(verdicts, verdicts.c.submission_id == submissions.c.id)
        .where(submissions.c.id.in_(ids))
    )
    if platform is not None:
        query = query.where(submissions.c.platform == platform)
    return [
        Status(_submission(row), _verdict(row), row["done_at"])
        for row in connection.execute(query).mappings()
    ]


def recent_policies(connection: Connection, *, at_most: int) -> list[str]:
    """The policies of the newest so many submissions, the most frequent first."""
    # Ids rise with time, and have an index.
    recent = (
        select(submissions.c.policy).order_by(submissions.c.id.desc()).limit(at_most).subquery()
    )
    query = select(recent.c.policy).group_by(recent.c.policy).order_by(func.count().desc())
    return list(connection.execute(query).scalars())


def count_pending(connection: Connection, *, at_most: int) -> int:
    """How many submissions have no verdict; stops counting at `at_most`."""
    pending = (
        select(submissions.c.id).where(submissions.c.done_at.is_(None)).limit(at_most).subquery()
    )
    return connection.execute(select(func.count()).select_from(pending)).scalar_one()


def oldest_pending_age_s(connection: Connection) -> float:
    """Seconds since the oldest submission without a verdict was accepted; 0 if none."""
    age = connection.execute(
        select(func.extract("epoch", func.now() - func.min(submissions.c.created_at))).where(
            submissions.c.done_at.is_(None)
        )
    ).scalar_one()
    return float(age or 0.0)


def _submission(row: RowMapping) -> Submission:
    return Submission(
        id=row["id"],
        platform=row["platform"],
        external_id=row["external_id"],
        policy=row["policy"],
        caption=row["caption"],
        image=ImageRef(blob=row["image_blob"], url=row["image_url"]),
        created_at=row["created_at"],
        attempts=row["attempts"],
        faults=row["faults"],
    )


def _verdict(row: RowMapping) -> Verdict | None:
    if row["v_outcome"] is None:
        return None
    return Verdict(
        outcome=Outcome(row["v_outcome"]),
        calibration_version=row["v_calibration_version"],
        model=row["v_model"],
        threshold=row["v_threshold"],
        cosine=row["v_cosine"],
        score=row["v_score"],
        reason=Reason(row["v_reason"]) if row["v_reason"] else None,
        detail=row["v_detail"],
        notes=tuple(Note(note) for note in row["v_notes"]),
    )


def ping(connection: Connection) -> None:
    """Raise when the tables are not there or not at this version."""
    # A table of the first version, and one of the last.
    # Each by itself: joined to an empty one, all rows of the other would be read.
    connection.execute(
        text("SELECT (SELECT 1 FROM submissions LIMIT 1), (SELECT 1 FROM webhook_events LIMIT 1)")
    )
