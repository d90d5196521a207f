"""Which calibration judges which submission. Pure: one history says the same to every worker."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from moderation.errors import CalibrationRefused
from moderation.types import DEFAULT_POLICY, Calibration


class Action(StrEnum):
    """What somebody did to a policy."""

    PUBLISH = "publish"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class State:
    """What holds for one policy: versions of calibrations, and how far the candidate goes.

    Without a live one the policy has the default's, and the default what its workers were
    started with. A candidate decides `candidate_share` of the policy's submissions; at 0
    it is a shadow, which is counted only.
    """

    live_version: str | None = None
    candidate_version: str | None = None
    candidate_share: float | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One entry of the append-only history: the whole state of a policy from then on."""

    id: int
    policy: str
    action: Action
    state: State
    who: str
    why: str
    created_at: datetime

    def to_document(self) -> dict[str, Any]:
        """The document that tools read."""
        return {
            "publication": self.id,
            "policy": self.policy,
            "action": self.action.value,
            **asdict(self.state),
            "who": self.who,
            "why": self.why,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class InForce:
    """What a worker judges the submissions of a policy with."""

    policy: str
    live: Calibration
    candidate: Calibration | None = None
    share: float = 0.0

    def decides(self, submission: UUID) -> Calibration:
        """The live calibration or, for its share of the submissions, the candidate."""
        if self.candidate is None or self.share == 0:
            return self.live
        is_in = place(self.candidate.version, submission) < self.share
        return self.candidate if is_in else self.live


@dataclass(frozen=True, slots=True)
class Published:
    """All that a worker acts on, replaced as a whole; `entries` are those that say so."""

    default: InForce
    own: Mapping[str, InForce] = field(default_factory=dict)
    entries: Sequence[Publication] = ()

    @property
    def publication(self) -> int | None:
        """The newest publication that is acted on."""
        return max((entry.id for entry in self.entries), default=None)

    def for_policy(self, policy: str) -> InForce:
        """What holds for a policy: its own, or else the default's."""
        return self.own.get(policy, self.default)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The newest publication of a policy, where a worker cannot act on it."""

    publication: Publication
    why: str


def place(version: str, submission: UUID) -> float:
    """Where a candidate puts a submission, uniform in [0, 1): the same one wherever it is asked."""
    digest = hashlib.sha256(f"{version}\0{submission}".encode()).digest()
    # As many bits as a float holds: more would round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def published(
    history: Iterable[Publication],
    load: Callable[[str], Calibration],
    base: Calibration | None,
) -> tuple[Published, list[Refusal]]:
    """What a worker acts on, from a history (newest first), and what of it it cannot act on.

    Of each policy that is the newest entry whose calibrations `load`, which raises
    `CalibrationRefused` for those of another model: so what comes next is never in the
    way of what held before, and a worker that starts again acts on the same. `base` is
    what the worker was started with. Raises `CalibrationRefused` where nothing is left.
    """
    of_policy: dict[str, list[Publication]] = {DEFAULT_POLICY: []}
    for entry in history:
        of_policy.setdefault(entry.policy, []).append(entry)
    refusals: list[Refusal] = []
    usable: list[Publication] = []

    def newest_usable(policy: str, fallback: Calibration | None) -> InForce | None:
        for entry in of_policy[policy]:
            try:
                found = _in_force(entry, load, fallback)
            except CalibrationRefused as error:
                if entry is of_policy[policy][0]:
                    refusals.append(Refusal(entry, str(error)))
            else:
                usable.append(entry)
                # With neither it has given up its own, and takes part in all of the default's.
                is_own = entry.state.live_version or entry.state.candidate_version
                return found if is_own else None
        return None

    default = newest_usable(DEFAULT_POLICY, base)
    if default is None:
        if base is None:
            why = refusals[0].why if refusals else "none is published."
            raise CalibrationRefused(f"There is no calibration to judge with: {why}")
        default = InForce(DEFAULT_POLICY, base)
    own = {
        policy: found
        for policy in of_policy
        if policy != DEFAULT_POLICY and (found := newest_usable(policy, default.live))
    }
    return Published(default, own, tuple(usable)), refusals


def _in_force(
    entry: Publication, load: Callable[[str], Calibration], fallback: Calibration | None
) -> InForce:
    """Raises `CalibrationRefused` where a part of the entry cannot be had."""
    state = entry.state
    live = load(state.live_version) if state.live_version else fallback
    if live is None:
        raise CalibrationRefused("it goes back to CAPTIONGUARD_CALIBRATION_FILE, which is not set.")
    candidate = load(state.candidate_version) if state.candidate_version else None
    return InForce(entry.policy, live, candidate, state.candidate_share or 0.0)


def live_versions(history: Iterable[Publication]) -> list[str | None]:
    """The live versions that a policy can go back through, the present one last.

    From the policy's history, newest first. A rollback takes the last one off, so that two
    of them go back two and never to and fro.
    """
    trail: list[str | None] = [None]
    for entry in reversed(list(history)):
        live = entry.state.live_version
        if entry.action is Action.ROLLBACK:
            while len(trail) > 1:
                trail.pop()
                if trail[-1] == live:
                    break
        elif trail[-1] != live:
            trail.append(live)
    return trail
