"""What people decide becomes a calibration, by the commands that do it."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from moderation.curves import Platt
from moderation.demo import MODEL_CALIBRATION
from moderation.quality.figures import Scope
from moderation.quality.measure import measure
from moderation.quality.sampling import AuditPlan
from moderation.review.opening import audit_of, case_for
from moderation.settings import Settings
from moderation.store import case_states, decisions, submissions, verdicts
from moderation.store.cases import NewCase
from moderation.store.decisions import Answer, NewDecision
from moderation.types import Calibration, ImageRef, NewSubmission, Outcome, PairScore, Verdict
from moderation.verdict import decide
from moderation.wiring import Services
from tests.conftest import Api
from tests.integration.answers import answer, claimed
from tests.integration.desk import rows_of, signed_in
from thresholds.artifact import read_artifact
from thresholds.cli import main
from thresholds.decisions import labelled
from thresholds.labels import Labels
from thresholds.platt import fit_platt

MATCHED, SWAPPED, SPREAD = 0.32, 0.18, 0.06
# Of two normal classes of one spread, the log odds are a straight line of the cosine.
TRUE = Platt((MATCHED - SWAPPED) / SPREAD**2, (SWAPPED**2 - MATCHED**2) / (2 * SPREAD**2))
Run = Callable[..., Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Decisions count at once."""
    return settings.model_copy(update={"review_undo_s": 0.0})


@pytest.fixture
def calibration() -> Calibration:
    """The true curve, for the bundled model."""
    model = read_artifact(MODEL_CALIBRATION).fingerprint
    return Calibration("c-000000000001", model, TRUE, 0.35)


@pytest.fixture
def thresholds(
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run `captionguard thresholds`; its document if it has one, else what it tells people."""
    url = services.settings.database_url
    assert url is not None
    monkeypatch.setenv("CAPTIONGUARD_DATABASE_URL", url.get_secret_value())
    monkeypatch.setenv("CAPTIONGUARD_DATA_DIR", str(services.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 40)
    monkeypatch.setattr("thresholds.reliability._RESAMPLES", 10)
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 20)

    def run(*arguments: object, status: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["thresholds", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert int(ended.value.code or 0) == status, printed.err
        return json.loads(printed.out) if "--json" in arguments else printed.err

    return run


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Submissions with the truth of them, (n,)."""

    ids: Sequence[UUID]
    cosines: np.ndarray
    is_match: np.ndarray

    def matches(self) -> dict[str, bool]:
        """Whether each matches, by its id."""
        return dict(zip(map(str, self.ids), self.is_match.tolist(), strict=True))


def traffic(
    services: Services, calibration: Calibration, n: int, *, mismatches: float, plan: AuditPlan
) -> Traffic:
    """Judged as a worker judges, with the cases that this opens."""
    rng = np.random.default_rng(7)
    is_match = rng.random(n) >= mismatches
    cosines = rng.normal(np.where(is_match, MATCHED, SWAPPED), SPREAD).clip(-1, 1)
    new = [
        NewSubmission("acme", None, "default", f"caption {i}", ImageRef(blob=f"{i:064x}"))
        for i in range(n)
    ]
    scores = TRUE.scores(cosines)
    posteriors = (1 - scores) * mismatches
    posteriors /= posteriors + scores * (1 - mismatches)
    inclusions, lots = plan.inclusions(posteriors), rng.random(n)
    row_of: dict[UUID, int] = {}

    def open_case(submission_id: UUID, verdict: Verdict) -> NewCase | None:
        row = row_of[submission_id]
        if verdict.outcome is not Outcome.PASS:
            return case_for(submission_id, verdict, twice=False)
        # Not by the ids' lot, which falls otherwise in every run.
        return audit_of(submission_id, inclusions[row]) if lots[row] < inclusions[row] else None

    with services.database.begin() as connection:
        ids = [item.id for item in submissions.accept(connection, new, message_id="m")]
        row_of.update(zip(ids, range(n), strict=True))
        judged = [decide(PairScore(float(cosine)), calibration) for cosine in cosines]
        verdicts.record(connection, list(zip(ids, judged, strict=True)), open_case)
    return Traffic(ids, cosines, is_match)


def test_decisions_give_back_the_curve_that_traffic_has(
    services: Services, calibration: Calibration, thresholds: Run, tmp_path: Path
) -> None:
    """Though passes are audited by chance, flags decided surest first, and misses wait longer.

    Of the same decisions without their weights comes another curve, by many standard errors.
    """
    sent = traffic(
        services, calibration, 8_000, mismatches=0.25, plan=AuditPlan(floor=0.2, slope=0.6)
    )
    truth = sent.matches()
    rng = np.random.default_rng(1)
    rows = rows_of(
        services,
        "SELECT cases.id, cases.submission_id, cases.route, verdicts.score FROM cases"
        " JOIN verdicts USING (submission_id) ORDER BY verdicts.score",
    )
    given: list[NewDecision] = []
    settled: dict[UUID, Answer] = {}
    for case_id, submission_id, route, score in rows:
        assert isinstance(case_id, UUID)
        assert isinstance(score, float)
        said = Answer.MATCH if truth[str(submission_id)] else Answer.MISMATCH
        # Nobody has come to most of the flags that are least sure, nor to a third of the audits.
        begun = rng.random() < (0.95 if route == "flagged" and score < 0.1 else 0.3)
        if route == "audit":
            begun = rng.random() < 0.67
        if not begun:
            continue
        given.append(NewDecision(case_id, said, "ann"))
        if route == "audit" and said is Answer.MISMATCH:
            # Half of the misses that were found still wait for a second person.
            if rng.random() < 0.5:
                continue
            given.append(NewDecision(case_id, said, "bob"))
        settled[case_id] = said
    with services.database.begin() as connection:
        decisions.add_decisions(connection, given)
        case_states.resolve(connection, settled)
    out = tmp_path / "new.json"
    document = thresholds("calibrate", "--from-decisions", "--since", "1d", "--out", out, "--json")
    assert document["a"] == pytest.approx(TRUE.a, rel=0.15)
    assert document["b"] == pytest.approx(TRUE.b, rel=0.15)
    assert document["a_interval"]["lower"] < TRUE.a < document["a_interval"]["upper"]
    # Where the standard threshold comes to lie, by the curve, is what people see of it.
    true_border, border = (
        (np.log(0.35 / 0.65) - b) / a for a, b in ((TRUE.a, TRUE.b), (document["a"], document["b"]))
    )
    assert border == pytest.approx(true_border, abs=0.01)
    with services.database.connect() as connection:
        pairs = labelled(connection, model=calibration.model)
    cosines = np.array([pair.cosine for pair in pairs])
    is_match = np.array([pair.is_match for pair in pairs])
    plain = fit_platt(Labels.of(cosines, is_match))
    assert abs((np.log(0.35 / 0.65) - plain.b) / plain.a - true_border) > 0.02
    weights = np.array([pair.weight for pair in pairs])
    assert weights.sum() == pytest.approx(8_000, rel=0.01)
    assert weights @ ~is_match / weights.sum() == pytest.approx(0.25, abs=0.03)
    thresholds("calibrate", "--from-decisions", "--since", "2100-01-01", "--out", out, status=1)


def test_labels_of_the_surest_flags_alone_are_told(
    services: Services, calibration: Calibration, thresholds: Run, tmp_path: Path
) -> None:
    """They stand for flags of scores that nobody has come to, and whoever uses them is told."""
    sent = traffic(services, calibration, 800, mismatches=0.5, plan=AuditPlan(floor=0.3, slope=0.0))
    truth = sent.matches()
    rows = rows_of(
        services,
        "SELECT cases.id, cases.submission_id, route FROM cases JOIN verdicts"
        " USING (submission_id) WHERE route = 'audit' OR verdicts.score < 0.1",
    )
    said = {
        UUID(str(case_id)): Answer.MATCH if truth[str(submission_id)] else Answer.MISMATCH
        for case_id, submission_id, _ in rows
    }
    with services.database.begin() as connection:
        for by in ("ann", "bob"):
            decisions.add_decisions(
                connection, [NewDecision(case_id, answer, by) for case_id, answer in said.items()]
            )
        case_states.resolve(connection, said)
    printed = thresholds("calibrate", "--from-decisions", "--out", tmp_path / "new.json")
    assert "flags hardly any of like score is decided on" in " ".join(printed.split())


def test_people_decide_and_a_threshold_comes_of_it(
    api: Api, calibration: Calibration, thresholds: Run, tmp_path: Path
) -> None:
    """Through the desk: a miss counts when it is confirmed, and an appeal overrules.

    Where all is decided, a backtest of what was live says of it what live figures say.
    """
    services = api.services
    sent = traffic(services, calibration, 400, mismatches=0.5, plan=AuditPlan(floor=0.6, slope=0.0))
    truth = sent.matches()
    cases = rows_of(services, "SELECT id, submission_id, route FROM cases ORDER BY id")
    said = {
        case_id: "match" if truth[str(submission_id)] else "mismatch"
        for case_id, submission_id, _ in cases
    }
    with signed_in(api, "ann") as ann, signed_in(api, "bob") as bob:
        for right in ("match", "mismatch"):
            flagged = [str(id_) for id_, _, of in cases if of == "flagged" and said[id_] == right]
            together = {"case_ids": flagged, "answer": right}
            made = ann.post("/v1/review/decisions", json=together).json()
            assert not made["refused"]
        while (case := claimed(ann)) is not None:
            right = said[UUID(case["id"])]
            told = ann.post(
                f"/v1/review/claims/{case['claim']['id']}/decision", json={"answer": right}
            )
            assert told.status_code == 200
        before = _labels(services, calibration)
        misses = [id_ for id_, _, route in cases if route == "audit" and said[id_] == "mismatch"]
        assert len(misses) >= 8
        assert len(before) == len(cases) - len(misses)
        for id_ in misses:
            assert isinstance(id_, UUID)
            answer(bob, "mismatch", id_)
        appealed = next(of for _, of, route in cases if route == "flagged" and not truth[str(of)])
        path = f"/v1/submissions/{appealed}/appeals"
        assert api.http.post(path, json={"statement": "Look again."}).status_code == 201
        answer(bob, "match")
    after = _labels(services, calibration)
    assert len(after) == len(cases)
    overruled = sent.cosines[list(map(str, sent.ids)).index(str(appealed))]
    assert after[overruled][0]
    passed = int((calibration.curve.scores(sent.cosines) >= 0.35).sum())
    assert sum(weight for _, weight in after.values() if weight > 1) == pytest.approx(passed)

    first, new = tmp_path / "first.json", tmp_path / "new.json"
    printed = thresholds("calibrate", "--from-decisions", "--out", first)
    assert "Mind" not in printed
    chosen = thresholds(
        "choose", first, "--from-decisions", "--recall-min", "0.8", "--out", new, "--json"
    )
    assert chosen["prevalence"] == pytest.approx(0.5, abs=0.08)
    evaluated = thresholds("evaluate", new, "--from-decisions", "--json")
    assert read_artifact(new).threshold == chosen["threshold"]
    assert evaluated["prevalence"] == pytest.approx(0.5, abs=0.1)

    past = thresholds("backtest", first, "--since", "1d", "--json")
    now = datetime.now(UTC)
    with services.database.connect() as connection:
        live = measure(connection, now=now, lag=timedelta(0), windows=(1,)).of[Scope(1)]
    assert live.found_misses == len(misses)
    assert past["precision_before"]["point"] == pytest.approx(live.precision.point)
    assert past["recall_before"]["point"] == pytest.approx(live.recall.point)


def _labels(services: Services, calibration: Calibration) -> dict[float, tuple[bool, float]]:
    with services.database.connect() as connection:
        found = labelled(connection, model=calibration.model)
    return {pair.cosine: (pair.is_match, pair.weight) for pair in found}
