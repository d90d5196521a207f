"""Moderators' decisions become labels, each as heavy as the chance that it was made."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

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
from tests.integration.traffic import open_no_case
from thresholds.artifact import read_artifact
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
        verdicts.record(connection, judged, open_no_case)
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
    a, b, d, e, f, c, g, h, i = _judged(
        services, calibration, [0.1, 0.2, 0.3, 0.4, 0.5, 0.85, 0.86, 0.87, 0.88]
    )
    _decide(services, a, Answer.MATCH, Answer.MISMATCH)
    _decide(services, b, Answer.MATCH, Answer.UNSURE)
    _decide(services, d, Answer.MATCH, route=Route.GOLDEN)
    _decide(services, e, Answer.MISMATCH)
    _decide(services, e, Answer.MATCH, route=Route.APPEAL)
    _decide(services, f, Answer.MATCH, route=Route.APPEAL)
    _decide(services, c, Answer.ESCALATE, Answer.MATCH, route=Route.AUDIT, probability=0.5)
    _decide(services, g, Answer.MATCH, route=Route.AUDIT, probability=0.5)
    _decide(services, g, Answer.MISMATCH, route=Route.GOLDEN)
    _decide(services, h, Answer.MATCH, route=Route.AUDIT, probability=0.5)
    _decide(services, h, Answer.UNSURE, route=Route.APPEAL)
    _decide(services, i, Answer.MATCH, route=Route.APPEAL)
    labels = _read(services)
    assert labels.cosines.tolist() == [0.1, 0.4, 0.85, 0.86, 0.87]
    assert labels.is_match.tolist() == [False, True, True, True, True]
    # Three audits stand for the four that passed.
    assert labels.weights.tolist() == pytest.approx([1, 1, *[4 / 3] * 3])
    assert labels.images.tolist() == [f"{n:064x}" for n in (0, 3, 5, 6, 7)]


def test_what_waits_for_another_answer_is_no_label(
    services: Services, calibration: Calibration
) -> None:
    """A miss that nobody has confirmed, two who differ, an escalation: others stand for them."""
    a, b, c, d, e, *_ = _judged(services, calibration, [0.9, 0.91, 0.92, -0.9, -0.91, 0.93])
    _decide(services, a, Answer.MISMATCH, route=Route.AUDIT, probability=0.1, settled=False)
    _decide(services, b, Answer.MISMATCH, Answer.MISMATCH, route=Route.AUDIT, probability=0.1)
    _decide(services, c, Answer.MATCH, route=Route.AUDIT, probability=0.1)
    _decide(services, d, Answer.MISMATCH, Answer.MATCH, settled=False)
    _decide(services, e, Answer.MISMATCH, Answer.MISMATCH)
    labels = _read(services)
    assert labels.cosines.tolist() == [-0.91, 0.91, 0.92]
    # Of four that passed: the confirmed miss stands for the other, and the match for itself. The
    # two who agree do not stand for two who differ.
    assert labels.weights.tolist() == pytest.approx([1, 8 / 3, 4 / 3])
    other = Calibration("c-1", "other-model", calibration.curve, 0.35)
    (waiting,) = _judged(services, other, [0.1])
    _decide(services, waiting, Answer.MISMATCH, settled=False)
    with services.database.connect() as connection:
        assert decisions.models_decided_on(connection) == {calibration.model: 3}


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


def test_since_looks_at_when_it_came_in(services: Services, calibration: Calibration) -> None:
    """Only what came in at that time or later counts, whenever it was decided."""
    (id_,) = _judged(services, calibration, [0.1])
    _decide(services, id_, Answer.MISMATCH)
    now = datetime.now(UTC)
    assert len(_read(services, since=now - timedelta(days=1))) == 1
    with pytest.raises(InputRefused, match="since"):
        _read(services, since=now + timedelta(days=1))


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
    with services.database.begin() as connection:
        add_cases(connection, [NewCase(id_, Route.AUDIT, 0.1) for id_ in ids[6:9]])
    labels = _read(services)
    assert labels.cosines.tolist() == [low] * 3 + [high] * 2
    assert labels.weights.tolist() == pytest.approx([1, 1, 1, 4, 4])
    assert _read(services, datetime.now(UTC) - timedelta(days=1)).weights.tolist() == pytest.approx(
        labels.weights.tolist()
    )


def test_what_labels_do_not_stand_for_is_told(services: Services, calibration: Calibration) -> None:
    """Of passes that nobody has looked at, and of misses that nobody has confirmed."""
    flag, audit, *_ = _judged(services, calibration, [-0.9, 0.9, 0.91])
    _decide(services, flag, Answer.MISMATCH)
    (unseen,) = read_source(None, services.settings, from_decisions=True).doubts
    assert unseen.startswith("Of 2 submissions that passed, nobody has decided on an audit")
    _decide(services, audit, Answer.MISMATCH, route=Route.AUDIT, probability=0.5, settled=False)
    (waiting,) = read_source(None, services.settings, from_decisions=True).doubts
    assert waiting.startswith("Answers that stand for 2 submissions wait for a second person")
