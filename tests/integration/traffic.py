"""Verdicts of the past, stored as a worker stores them, and what moderators said of them."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from moderation.store.ingested import first_id
from moderation.store.review_tables import cases, decisions
from moderation.store.tables import submissions, verdicts
from moderation.types import Verdict
from thresholds.artifact import Artifact, Interval, Reference, Report

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)

# Those of a UUIDv4 that follow its version, with the variant among them.
_RANDOM_BITS = 76


def open_no_case(submission_id: uuid.UUID, verdict: Verdict) -> None:
    """For verdicts whose cases a test opens itself, if any."""


@dataclass(frozen=True)
class Case:
    """A review case and its decisions, in the order of time; a later case is decided later.

    The last answer settles it, unless it waits for more.
    """

    route: str
    probability: float
    answers: Sequence[str] = ()
    waits: bool = False

    @property
    def resolution(self) -> str | None:
        """The answer that stands."""
        return None if self.waits or not self.answers else self.answers[-1]


@dataclass(frozen=True)
class Past:
    """One verdict of the past; without a cosine it is unscorable. It came in so long ago."""

    cosine: float | None
    outcome: str
    model: str
    age: dt.timedelta = dt.timedelta(hours=1)
    policy: str = "default"
    version: str = "c-000000000001"
    notes: Sequence[str] = ()
    cases: Sequence[Case] = field(default=())
    score: float = 0.5


def id_at(moment: dt.datetime) -> uuid.UUID:
    """The id of a submission that comes in at a moment: a UUIDv7."""
    random = uuid.uuid4().int & (2**_RANDOM_BITS - 1)
    return uuid.UUID(int=first_id(moment).int | 7 << 76 | random)


def store(connection: Connection, past: Sequence[Past], *, now: dt.datetime = NOW) -> None:
    """Insert submissions, verdicts, cases and decisions."""
    rows: dict[str, list[dict[str, object]]] = {"s": [], "v": [], "c": [], "d": []}
    for one in past:
        at = now - one.age
        id_ = id_at(at)
        rows["s"].append(
            {
                "id": id_,
                "platform": "acme",
                "policy": one.policy,
                "caption": "a ball",
                "image_blob": "0" * 64,
                "message_id": "m",
                "created_at": at,
                "done_at": at,
            }
        )
        rows["v"].append(
            {
                "submission_id": id_,
                "outcome": one.outcome,
                "reason": None if one.outcome != "unscorable" else "image_not_found",
                "cosine": one.cosine,
                "score": None if one.outcome == "unscorable" else one.score,
                "threshold": 0.35,
                "calibration_version": one.version,
                "model": one.model,
                "notes": list(one.notes),
                "created_at": at,
            }
        )
        for seconds, case in enumerate(one.cases):
            case_id = uuid7()
            said = case.resolution
            rows["c"].append(
                {
                    "id": case_id,
                    "submission_id": id_,
                    "policy": one.policy,
                    "route": case.route,
                    "inclusion_probability": case.probability,
                    "state": "resolved" if said else "open",
                    "resolution": said,
                    "resolved_at": at + dt.timedelta(seconds=seconds) if said else None,
                }
            )
            for answer in case.answers:
                rows["d"].append(
                    {
                        "id": uuid7(),
                        "case_id": case_id,
                        "answer": answer,
                        "decided_by": "anna",
                        "created_at": at + dt.timedelta(seconds=seconds),
                    }
                )
    for table, name in ((submissions, "s"), (verdicts, "v"), (cases, "c"), (decisions, "d")):
        if rows[name]:
            connection.execute(table.insert(), rows[name])


def an_artifact(*, threshold: float = 0.35, weights: str = "4", labels: int = 4000) -> Artifact:
    """A calibration of matches around 0.36 and mismatches around 0.08; even odds at 0.21."""
    whole = Interval(point=0.9, lower=0.8, upper=0.95)
    at = np.linspace(0, 1, 101)
    matched, mismatched = (
        tuple(np.quantile(np.random.default_rng(0).normal(*where, labels), at).tolist())
        for where in ((0.36, 0.03), (0.08, 0.07))
    )
    return Artifact(
        model="a model",
        weights_sha256=weights * 64,
        preprocessing_sha256="1" * 64,
        a=60.0,
        b=-12.6,
        threshold=threshold,
        cold_start=False,
        matches=labels,
        mismatches=labels,
        data_sha256="2" * 64,
        report=Report(
            n=600,
            expected_calibration_error=0.01,
            brier_score=0.02,
            log_loss=0.1,
            auc=whole,
            recall=whole,
            false_positive_rate=whole,
        ),
        reference=Reference(match_quantiles=matched, mismatch_quantiles=mismatched),
        versions={},
        created_at=NOW,
    )
