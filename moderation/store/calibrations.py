"""Published calibrations and the history of what was published. Nothing here is ever changed."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Text, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from moderation.published import Action, Publication, State
from moderation.store.locks import Lock, wait_for
from moderation.store.tables import calibrations, publications


@dataclass(frozen=True, slots=True)
class Stored:
    """A calibration as it was published: `artifact` is the file, JSON."""

    version: str
    model: str
    artifact: str


def lock(connection: Connection) -> None:
    """Let nobody else publish until this transaction ends."""
    wait_for(connection, Lock.PUBLICATION)


def keep(connection: Connection, calibration: Stored) -> None:
    """Store a calibration, unless it is stored already."""
    connection.execute(
        insert(calibrations)
        .values(
            version=calibration.version,
            model=calibration.model,
            artifact=json.loads(calibration.artifact),
        )
        .on_conflict_do_nothing()
    )


def stored(connection: Connection, versions: Collection[str]) -> dict[str, Stored]:
    """The calibrations of these versions, by version; those that are not there are left out."""
    query = _STORED.where(calibrations.c.version.in_(versions))
    return {row.version: Stored(*row) for row in connection.execute(query)}


def starting_with(connection: Connection, prefix: str, *, at_most: int = 10) -> list[Stored]:
    """The calibrations whose version starts so, the newest first."""
    query = (
        _STORED.where(calibrations.c.version.startswith(prefix, autoescape=True))
        .order_by(calibrations.c.created_at.desc())
        .limit(at_most)
    )
    return [Stored(*row) for row in connection.execute(query)]


def append(
    connection: Connection, *, policy: str, action: Action, state: State, who: str, why: str
) -> Publication:
    """Add an entry to the history: from now on this is the policy's state."""
    row = connection.execute(
        insert(publications)
        .values(
            policy=policy,
            action=action.value,
            live_version=state.live_version,
            candidate_version=state.candidate_version,
            candidate_share=state.candidate_share,
            who=who,
            why=why,
        )
        .returning(publications)
    )
    return _publication(row.mappings().one())


def history(connection: Connection, *, policy: str | None = None) -> list[Publication]:
    """What was published, of one policy or of all, the newest first."""
    query = select(publications).order_by(publications.c.id.desc())
    if policy is not None:
        query = query.where(publications.c.policy == policy)
    return [_publication(row) for row in connection.execute(query).mappings()]


def current(connection: Connection) -> dict[str, Publication]:
    """The newest entry of each policy that was ever published to."""
    newest = select(func.max(publications.c.id)).group_by(publications.c.policy)
    query = (
        select(publications).where(publications.c.id.in_(newest)).order_by(publications.c.policy)
    )
    return {row["policy"]: _publication(row) for row in connection.execute(query).mappings()}


def newest_id(connection: Connection) -> int | None:
    """The id of the newest publication of all; cheap enough to ask every second."""
    newest: int | None = connection.execute(select(func.max(publications.c.id))).scalar_one()
    return newest


def _publication(row: RowMapping) -> Publication:
    return Publication(
        id=row["id"],
        policy=row["policy"],
        action=Action(row["action"]),
        state=State(row["live_version"], row["candidate_version"], row["candidate_share"]),
        who=row["who"],
        why=row["why"],
        created_at=row["created_at"],
    )


# As text, so that it is read as a file is: no digit is lost, and no key changes its place.
_STORED = select(calibrations.c.version, calibrations.c.model, cast(calibrations.c.artifact, Text))
