"""Publishing a calibration, promoting it, going back: each is one entry of the history."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from moderation.errors import InputRefused
from moderation.intake import check_policy
from moderation.published import Action, Publication, State, live_versions
from moderation.store import audit, calibrations, submissions, workers
from moderation.store.audit import Actor
from moderation.store.calibrations import Stored
from moderation.store.workers import WorkerInfo
from moderation.types import DEFAULT_POLICY
from thresholds.artifact import Artifact
from thresholds.versions import Named
from thresholds.words import doubts

log = structlog.get_logger()

SHADOW = 0.0

_LOOK_BACK = 10_000
_NAME_AT_MOST = 10
_WAIT_S = 10.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes what is live, and why."""

    who: str
    why: str

    def __post_init__(self) -> None:
        for name, said in (("who", self.who), ("why", self.why)):
            if not said.strip() or not said.isprintable():
                raise InputRefused(f"--{name} must say something, in one line of text")


@dataclass(frozen=True, slots=True)
class Change:
    """The entry that holds now, what held before, and whether that is new."""

    entry: Publication
    before: State
    is_new: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Uptake:
    """How workers took a change up: `lagging` live and do not act on it.

    `others` have another model than the calibration and are not waited for.
    """

    acting: int
    lagging: tuple[WorkerInfo, ...]
    others: int
    seconds: float

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return {
            "acting": self.acting,
            "lagging": [worker.to_document() for worker in self.lagging],
            "of_other_models": self.others,
            "seconds": round(self.seconds, 3),
        }


def publish(
    database: Engine,
    named: Named,
    *,
    policy: str,
    share: float | None,
    author: Author,
    lease_s: float,
    set_model: Callable[[], str],
) -> Change:
    """Make a calibration live or, with a `share` of the submissions, the candidate.

    A share of `SHADOW` is counted only. What was the candidate no longer is. Raises
    `InputRefused`, with nothing written, for a calibration of another model than the one
    in use; where no worker lives and nothing is live, `set_model` names that one.
    """
    artifact, version = named.artifact, named.version
    check_policy(policy)
    if not policy.isprintable():
        raise InputRefused("the policy's name must be one line of text", field="policy")
    if share is not None and not 0 <= share < 1:
        raise InputRefused(f"the share must lie above 0 and below 1, is {share}")
    with database.connect() as connection:
        wanted, whose = _models_in_use(connection, lease_s) or ({set_model()}, "the set model")
    if artifact.fingerprint not in wanted:
        raise _another_model(version, artifact.made_for, wanted, whose)
    with database.begin() as connection:
        calibrations.lock(connection)
        before = _state(connection, policy)
        if share is None:
            state = State(version)
        elif version == before.live_version:
            raise InputRefused(f"{version} is live for {policy} already: there is nothing to try.")
        else:
            state = State(before.live_version, version, share)
        stored = Stored(version, artifact.fingerprint, artifact.model_dump_json())
        calibrations.keep(connection, stored)
        change = _append(connection, policy, Action.PUBLISH, before, state, author)
        warnings = _warnings(connection, policy, artifact, lease_s)
    return _told(replace(change, warnings=warnings))


def promote(database: Engine, *, policy: str, author: Author, lease_s: float) -> Change:
    """Make the candidate live. Raises `InputRefused` where there is none."""
    with database.begin() as connection:
        calibrations.lock(connection)
        before = _state(connection, policy)
        if before.candidate_version is None:
            raise InputRefused(
                f"{policy} has no candidate to promote. Publish one with --shadow or --share; "
                "`captionguard thresholds show` says what each policy has."
            )
        _check_model(connection, before.candidate_version, lease_s)
        state = State(before.candidate_version)
        change = _append(connection, policy, Action.PROMOTE, before, state, author)
    return _told(change)


def roll_back(database: Engine, *, policy: str, author: Author, lease_s: float) -> Change:
    """Withdraw the candidate or, without one, go back to what was live before.

    Twice in a row goes back two. Raises `InputRefused` where nothing was live before.
    """
    with database.begin() as connection:
        calibrations.lock(connection)
        before = _state(connection, policy)
        if before.candidate_version is not None:
            action, live = Action.WITHDRAW, before.live_version
        else:
            trail = live_versions(calibrations.history(connection, policy=policy))
            if len(trail) == 1:
                raise InputRefused(
                    f"There is nothing before what {policy} has now. `captionguard thresholds "
                    f"list --policy {policy}` shows its history."
                )
            action, live = Action.ROLLBACK, trail[-2]
            if live is not None:
                _check_model(connection, live, lease_s)
        change = _append(connection, policy, action, before, State(live), author)
    return _told(change)


def await_workers(database: Engine, entry: Publication, *, lease_s: float) -> Uptake:
    """Wait until living workers act on an entry, for ten seconds at most."""
    started_s = time.monotonic()
    while True:
        with database.connect() as connection:
            version = entry.state.candidate_version or entry.state.live_version
            named = calibrations.stored(connection, [version] if version else [])
            models = {calibration.model for calibration in named.values()}
            alive = workers.living(connection, lease_s=lease_s)
        asked = [worker for worker in alive if not models or worker.model in models]
        lagging = tuple(worker for worker in asked if (worker.publication or 0) < entry.id)
        waited_s = time.monotonic() - started_s
        if not lagging or waited_s >= _WAIT_S:
            return Uptake(len(asked) - len(lagging), lagging, len(alive) - len(asked), waited_s)
        time.sleep(_POLL_S)


def _state(connection: Connection, policy: str) -> State:
    newest = calibrations.current(connection).get(policy)
    return newest.state if newest else State()


def _append(
    connection: Connection,
    policy: str,
    action: Action,
    before: State,
    state: State,
    author: Author,
) -> Change:
    newest = calibrations.current(connection).get(policy)
    if newest is not None and newest.state == state:
        return Change(newest, before, is_new=False)
    entry = calibrations.append(
        connection, policy=policy, action=action, state=state, who=author.who, why=author.why
    )
    details = {
        "action": action.value,
        "version": state.candidate_version or state.live_version,
        "share": state.candidate_share,
    }
    audit.record_many(
        connection,
        Actor(f"cli:{author.who}"),
        "calibration.published",
        {f"policy:{policy}": details},
    )
    return Change(entry, before, is_new=True)


def _told(change: Change) -> Change:
    # After the commit: what is logged has happened.
    if change.is_new:
        log.info("calibration_published", **change.entry.to_document())
    return change


def _models_in_use(connection: Connection, lease_s: float) -> tuple[set[str], str] | None:
    """Fingerprints of the models that a calibration may be for, and whose they are."""
    alive = workers.living(connection, lease_s=lease_s)
    if alive:
        return {worker.model for worker in alive}, "the living workers"
    live = _state(connection, DEFAULT_POLICY).live_version
    if live is None:
        return None
    return {calibrations.stored(connection, [live])[live].model}, f"{live}, which is live"


def _check_model(connection: Connection, version: str, lease_s: float) -> None:
    """Refuse to go to a version that no living worker could act on."""
    model = calibrations.stored(connection, [version])[version].model
    alive = {worker.model for worker in workers.living(connection, lease_s=lease_s)}
    if alive and model not in alive:
        raise _another_model(version, f"another model ({model})", alive, "the living workers")


def _another_model(version: str, made_for: str, wanted: set[str], whose: str) -> InputRefused:
    return InputRefused(
        f"{version} was made for {made_for}, and not for the model of {whose} "
        f"({', '.join(sorted(wanted))}): its scores would mean nothing there. Nothing was "
        "published. To change the model, start a worker with it first; see `captionguard "
        "thresholds calibrate --help` for a calibration of it."
    )


def _warnings(
    connection: Connection, policy: str, artifact: Artifact, lease_s: float
) -> tuple[str, ...]:
    warnings = []
    if artifact.cold_start:
        warnings.append(
            "It was made without labels (cold start): replace it once moderators have decided "
            "on some."
        )
    warnings += doubts(artifact)
    recent = submissions.recent_policies(connection, at_most=_LOOK_BACK)
    if policy != DEFAULT_POLICY and recent and policy not in recent:
        warnings.append(
            f"No recent submission has the policy {policy}; they have: "
            f"{', '.join(recent[:_NAME_AT_MOST])}."
        )
    alive = workers.living(connection, lease_s=lease_s)
    others = sum(worker.model != artifact.fingerprint for worker in alive)
    if others:
        warnings.append(
            f"{others} of {len(alive)} living workers have another model and keep what they have."
        )
    return tuple(warnings)
