"""Moderators' decisions become labels, each as heavy as the chance that it was made."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from moderation.demo import MODEL_CALIBRATION
from moderation.errors import InputRefused
from moderation.store import calibrations, case_states, decisions, submissions, verdicts
from moderation.store.calibrations import Stored
from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.decisions import Answer, NewDecision
from moderation.types import Calibration, ImageRef, NewSubmission, PairScore
from moderation.verdict import decide
from moderation.wiring import Services
from thresholds.artifact import read_artifact
from thresholds.calibrate import calibrate, fit_curve
from thresholds.labels import Labels
from thresholds.sources import read_source


@pytest.fixture
def calibration() -> Calibration:
    """The bundled model's."""
    return read_artifact(MODEL_CALIBRATION).to_calibration()


def _judged(services: Services, calibration: Calibration, cosines: Sequence[float]) -> list[UUID]:
    """Submissions with verdicts of these cosines."""
    new = [
        NewSubmission("acme", None, "default", f"caption {n}", ImageRef(blob=f"{n:064x}"))
        for n in range(len(cosines))
    ]
    with services.database.begin() as connection:
        ids = [item.id for item in submissions.accept(connection, new, message_id="m")]
        judged = [
            (id_, decide(PairScore(c), calibration)) for id_, c in zip(ids, cosines, strict=True)
        ]
        verdicts.record(connection, judged, verdicts.open_no_case)
    return ids


def _decide(
    services: Services,
    submission: UUID,
    *answers: Answer,
    route: Route = Route.FLAGGED,
    probability: float = 1.0,
    settled: bool = True,
) -> None:
    """Open a case and decide on it; the last answer settles it, unless it waits for more."""
    with services.database.begin() as connection:
        (case,) = add_cases(connection, [NewCase(submission, route, probability)])
        decisions.add_decisions(connection, [NewDecision(case, each, "mia") for each in answers])
        if settled:
            case_states.resolve(connection, {case: answers[-1]})


def _read(services: Services, since: datetime | None = None) -> Labels:
    return read_source(None, services.settings, from_decisions=True, since=since).labels


def test_the_last_clear_settlement_counts(services: Services, calibration: Calibration) -> None:
    """Of what was drawn for review; golden cases and what nobody is sure of are left out."""
    a, b, c, d, e, f, g, h = _judged(
        services, calibration, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    )
    _decide(services, a, Answer.MATCH, Answer.MISMATCH)
    _decide(services, b, Answer.MATCH, Answer.UNSURE)
    _decide(services, c, Answer.ESCALATE, Answer.MATCH, route=Route.AUDIT, probability=0.05)
    _decide(services, d, Answer.MATCH, route=Route.GOLDEN)
    _decide(services, e, Answer.MISMATCH)
    _decide(services, e, Answer.MATCH, route=Route.APPEAL)
    _decide(services, f, Answer.MATCH, route=Route.APPEAL)
    _decide(services, g, Answer.MATCH, route=Route.AUDIT, probability=0.5)
    _decide(services, g, Answer.MISMATCH, route=Route.GOLDEN)
    _decide(services, h, Answer.MATCH)
    _decide(services, h, Answer.UNSURE, route=Route.APPEAL)
    labels = _read(services)
    assert labels.cosines.tolist() == [0.1, 0.3, 0.5, 0.7, 0.8]
    assert labels.is_match.tolist() == [False, True, True, True, True]
    assert labels.weights.tolist() == [1, 20, 1, 2, 1]
    assert labels.images.tolist() == [f"{n:064x}" for n in (0, 2, 4, 6, 7)]


def test_what_waits_for_another_answer_is_no_label(
    services: Services, calibration: Calibration
) -> None:
    """A miss that nobody has confirmed, two who differ, an escalation: others stand for them."""
    a, b, c, d = _judged(services, calibration, [0.9, 0.91, 0.92, -0.9])
    _decide(services, a, Answer.MISMATCH, route=Route.AUDIT, probability=0.1, settled=False)
    _decide(services, b, Answer.MISMATCH, Answer.MISMATCH, route=Route.AUDIT, probability=0.1)
    _decide(services, c, Answer.MATCH, route=Route.AUDIT, probability=0.1)
    _decide(services, d, Answer.MISMATCH, Answer.MATCH, settled=False)
    labels = _read(services)
    assert labels.cosines.tolist() == [0.91, 0.92]
    assert labels.weights.tolist() == pytest.approx([15, 15])
    other = Calibration("c-1", "other-model", calibration.curve, 0.35)
    (waiting,) = _judged(services, other, [0.1])
    _decide(services, waiting, Answer.MISMATCH, settled=False)
    with services.database.connect() as connection:
        assert decisions.models_decided_on(connection) == {calibration.model: 2}


def test_source_says_whose_cosines_they_are(services: Services, calibration: Calibration) -> None:
    """Without loading the model, its hashes come from the calibration that it runs with."""
    (id_,) = _judged(services, calibration, [0.1])
    _decide(services, id_, Answer.MISMATCH)
    source = read_source(None, services.settings, from_decisions=True)
    assert source.model is not None
    assert (source.model.spec, source.model.fingerprint) == ("demo-tiny", calibration.model)
    assert (source.captions, source.images) == (("caption 0",), (f"{0:064x}",))


def test_a_published_calibration_says_whose_cosines_they_are(
    services: Services, calibration: Calibration
) -> None:
    """A model that is set without a calibration file is known by the one that was published."""
    artifact = read_artifact(MODEL_CALIBRATION).model_copy(
        update={"model": "other:model", "weights_sha256": "ab" * 32}
    )
    with services.database.begin() as connection:
        calibrations.keep(
            connection,
            Stored(artifact.version, artifact.fingerprint, artifact.model_dump_json()),
        )
    (id_,) = _judged(services, artifact.to_calibration(), [0.1])
    _decide(services, id_, Answer.MISMATCH)
    source = read_source(None, services.settings, from_decisions=True, model="other:model")
    assert source.model is not None
    assert (source.model.spec, source.model.weights_sha256) == ("other:model", "ab" * 32)
    assert len(source.labels) == 1


def test_other_models_do_not_count(services: Services, calibration: Calibration) -> None:
    """Cosines of other weights mean something else: the refusal says whose there are."""
    other = Calibration("c-1", "other-model", calibration.curve, 0.35)
    for id_ in _judged(services, other, [0.1, 0.2]):
        _decide(services, id_, Answer.MATCH)
    with pytest.raises(InputRefused, match="there are decisions on 2 of other-model"):
        _read(services)


def test_no_decisions_are_refused(services: Services) -> None:
    """A database without any says so."""
    with pytest.raises(InputRefused, match="there are none at all"):
        _read(services)


def test_since_looks_at_when_it_was_decided(services: Services, calibration: Calibration) -> None:
    """Only what was decided at that time or later counts."""
    (id_,) = _judged(services, calibration, [0.1])
    _decide(services, id_, Answer.MISMATCH)
    now = datetime.now(UTC)
    assert len(_read(services, since=now - timedelta(days=1))) == 1
    with pytest.raises(InputRefused, match="since"):
        _read(services, since=now + timedelta(days=1))


def test_an_audit_sample_gives_the_curve_of_all_traffic(
    services: Services, calibration: Calibration
) -> None:
    """All of the flagged and a tenth of the passed: only weighted labels find the truth."""
    rng = np.random.default_rng(7)
    n = 4_000
    is_match = rng.random(n) < 0.6
    cosines = rng.normal(np.where(is_match, 0.32, 0.18), 0.06).clip(-1, 1)
    ids = _judged(services, calibration, cosines.tolist())
    flagged = cosines < 0.25
    audited = ~flagged & (rng.random(n) < 0.1)
    drawn = np.flatnonzero(flagged | audited)
    answers = [Answer.MATCH if is_match[row] else Answer.MISMATCH for row in drawn]
    with services.database.begin() as connection:
        cases = add_cases(
            connection,
            [
                NewCase(ids[row], Route.FLAGGED)
                if flagged[row]
                else NewCase(ids[row], Route.AUDIT, 0.1)
                for row in drawn
            ],
        )
        case_states.resolve(connection, dict(zip(cases, answers, strict=True)))
    source = read_source(None, services.settings, from_decisions=True)
    assert len(source.labels) == len(drawn)
    assert source.labels.weights.sum() == pytest.approx(n, rel=0.15)
    true = 1 / (1 + np.exp(-(0.14 * cosines + (0.18**2 - 0.32**2) / 2) / 0.06**2))
    unweighted = Labels.of(source.labels.cosines, source.labels.is_match)
    errors = [
        float(np.abs(fit_curve(labels, "platt").scores(cosines) - true).mean())
        for labels in (source.labels, unweighted)
    ]
    assert errors[0] < 0.04
    assert errors[1] > 0.06
    assert source.model is not None
    artifact = calibrate(source.labels, source.model)
    assert artifact.fingerprint == calibration.model
    assert artifact.report.expected_calibration_error < 0.1


def test_those_decided_stand_for_those_that_wait(
    services: Services, calibration: Calibration
) -> None:
    """Audits that lie undecided leave passed submissions as heavy as they are, and no flag less.

    Else the flagged ones, which are decided first, would make recall look better than it is.
    """
    low, high = -0.9, 0.9
    ids = _judged(services, calibration, [low] * 4 + [high] * 8)
    for id_, answer in zip(ids[:4], ["mismatch", "mismatch", "match", "unsure"], strict=True):
        _decide(services, id_, Answer(answer))
    for id_ in ids[4:6]:
        _decide(services, id_, Answer.MATCH, route=Route.AUDIT, probability=0.1)
    _decide(services, ids[6], Answer.ESCALATE, route=Route.AUDIT, probability=0.2, settled=False)
    with services.database.begin() as connection:
        waiting = [NewCase(id_, Route.AUDIT, 0.1) for id_ in ids[7:10]]
        add_cases(connection, waiting)
    labels = _read(services)
    assert labels.cosines.tolist() == [low] * 3 + [high] * 2
    # Of audits 5 * 10 + 1 * 5 were drawn, of which 2 * 10 are decided.
    assert labels.weights.tolist() == pytest.approx([1, 1, 1, 27.5, 27.5])
    assert _read(services, datetime.now(UTC) - timedelta(days=1)).weights.tolist() == pytest.approx(
        labels.weights.tolist()
    )
