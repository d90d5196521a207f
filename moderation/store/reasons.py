"""What a moderator may give as the reason of an answer: a list for each policy."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from moderation.store.audit import Actor, record
from moderation.store.decisions import Answer
from moderation.store.locks import Lock, wait_for
from moderation.store.review_tables import policy_reasons
from moderation.types import DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: `key` is what is stored with a decision, `label` what people read."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class PolicyReasons:
    """The reasons in the order shown, and the answers that cannot be given without one."""

    reasons: tuple[Reason, ...]
    required_for: frozenset[Answer] = frozenset()

    def to_document(self) -> dict[str, Any]:
        """Plain JSON, for the audit log and the API."""
        return {
            "reasons": [{"key": reason.key, "label": reason.label} for reason in self.reasons],
            "required_for": [answer.value for answer in Answer if answer in self.required_for],
        }


@dataclass(frozen=True, slots=True)
class StoredReasons:
    """The list that a policy has of its own; `updated_at` says which state of it this is."""

    policy: str
    listed: PolicyReasons
    updated_at: datetime


# None is required: who has to choose from a list that nobody of the house has read takes any, and
# such reasons are worse than none. A lead who has written the list decides what needs one.
BUILT_IN = PolicyReasons(
    (
        Reason("wrong_subject", "Wrong subject"),
        Reason("wrong_place_or_time", "Wrong place or time"),
        Reason("out_of_context", "Out of context"),
        Reason("misleading_detail", "Misleading detail"),
        Reason("spam", "Spam"),
        Reason("unsafe", "Unsafe"),
        Reason("other", "Other"),
    )
)


class ChangedMeanwhile(Exception):
    """Somebody else has changed the list since it was read; `now` is what it is, if any."""

    def __init__(self, now: StoredReasons | None) -> None:
        self.now = now
        super().__init__(
            "somebody else has changed these reasons since you read them; "
            "look at what they are now, and change that"
        )


def reasons_for(connection: Connection, policy: str) -> PolicyReasons:
    """The policy's own list, else that of the policy `default`, else the built-in one."""
    found = {stored.policy: stored for stored in stored_lists(connection, (policy, DEFAULT_POLICY))}
    stored = found.get(policy) or found.get(DEFAULT_POLICY)
    return stored.listed if stored else BUILT_IN


def stored_lists(
    connection: Connection, policies: Collection[str] | None = None
) -> list[StoredReasons]:
    """The lists that were written, of these policies or of all, by name."""
    query = select(policy_reasons).order_by(policy_reasons.c.policy)
    if policies is not None:
        query = query.where(policy_reasons.c.policy.in_(policies))
    return [_stored(row) for row in connection.execute(query).mappings()]


def put(
    connection: Connection,
    policy: str,
    listed: PolicyReasons,
    *,
    read_at: datetime | None,
    actor: Actor,
) -> StoredReasons:
    """Write a policy's own list over the one of `read_at`, None where there was none.

    Raises `ChangedMeanwhile` where it is not that one any more.
    """
    before = _unchanged(connection, policy, read_at)
    document = listed.to_document()
    # Not now(): two changes in one transaction's time would look like one state.
    values = {**document, "updated_at": func.clock_timestamp()}
    row = connection.execute(
        insert(policy_reasons)
        .values(policy=policy, **values)
        .on_conflict_do_update(index_elements=["policy"], set_=values)
        .returning(policy_reasons)
    )
    after = _stored(row.mappings().one())
    _tell(connection, actor, policy, before, after)
    return after


def remove(
    connection: Connection, policy: str, *, read_at: datetime | None, actor: Actor
) -> StoredReasons | None:
    """Give up a policy's own list, so that the default's holds; what was removed, if any.

    Raises `ChangedMeanwhile` where it is not the one of `read_at` any more.
    """
    before = _unchanged(connection, policy, read_at)
    if before is not None:
        connection.execute(delete(policy_reasons).where(policy_reasons.c.policy == policy))
        _tell(connection, actor, policy, before, None)
    return before


def _unchanged(
    connection: Connection, policy: str, read_at: datetime | None
) -> StoredReasons | None:
    # A row that is not there yet cannot be locked; changes are rare enough to take turns.
    wait_for(connection, Lock.REASONS)
    stored = next(iter(stored_lists(connection, (policy,))), None)
    if (stored.updated_at if stored else None) != read_at:
        raise ChangedMeanwhile(stored)
    return stored


def _tell(
    connection: Connection,
    actor: Actor,
    policy: str,
    before: StoredReasons | None,
    after: StoredReasons | None,
) -> None:
    record(
        connection,
        actor,
        "reasons.changed",
        f"policy:{policy}",
        before=before.listed.to_document() if before else None,
        after=after.listed.to_document() if after else None,
    )


def _stored(row: RowMapping) -> StoredReasons:
    reasons = tuple(Reason(item["key"], item["label"]) for item in row["reasons"])
    required = frozenset(Answer(answer) for answer in row["required_for"])
    return StoredReasons(row["policy"], PolicyReasons(reasons, required), row["updated_at"])
