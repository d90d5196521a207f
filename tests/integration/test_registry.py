"""Publishing: what is refused, what is written, and what a worker makes of it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from moderation.demo import MODEL_CALIBRATION
from moderation.errors import CalibrationRefused, InputRefused
from moderation.published import Action, State
from moderation.store import calibrations, submissions, workers
from moderation.store.calibrations import Stored
from moderation.store.workers import WorkerInfo
from moderation.types import DEFAULT_POLICY, ImageRef, NewSubmission
from moderation.wiring import Services
from thresholds.artifact import Artifact
from thresholds.registry import SHADOW, Author, Change, promote, publish, roll_back
from thresholds.versions import Named, find, set_model
from workers.published import Calibrations

DEMO = json.loads(MODEL_CALIBRATION.read_text())
ANN = Author("ann", "a test")
LEASE_S = 5.0


def named(**changes: Any) -> Named:
    """The bundled calibration with changes."""
    artifact = Artifact.model_validate_json(json.dumps(DEMO | changes))
    return Named(artifact.version, artifact)


A, B, C = (named(threshold=threshold) for threshold in (0.3, 0.4, 0.5))
OTHER = named(weights_sha256="0" * 64, model="another")


def put(
    services: Services,
    calibration: Named,
    *,
    policy: str = DEFAULT_POLICY,
    share: float | None = None,
) -> Change:
    """Publish to the database of a test."""
    return publish(
        services.database,
        calibration,
        policy=policy,
        share=share,
        author=ANN,
        lease_s=LEASE_S,
        set_model=lambda: A.artifact.fingerprint,
    )


def back(services: Services, policy: str = DEFAULT_POLICY) -> Change:
    """Roll a policy back."""
    return roll_back(services.database, policy=policy, author=ANN, lease_s=LEASE_S)


def rows(services: Services) -> int:
    """How many entries the history has."""
    with services.database.connect() as connection:
        return len(calibrations.history(connection))


def live_worker(services: Services, *, model: str, publication: int | None = None) -> None:
    """A worker that has just beaten."""
    info = WorkerInfo(uuid4(), "host", 1, model, "c-0", publication, None)
    with services.database.begin() as connection:
        workers.beat(connection, info, [])


def test_a_publication_says_who_when_and_why(services: Services) -> None:
    """The entry and the artifact are stored, and found again by version."""
    change = put(services, A, policy="ads")
    assert (change.is_new, change.before, change.entry.state) == (True, State(), State(A.version))
    assert (change.entry.who, change.entry.why) == ("ann", "a test")
    assert find(A.version[:6], services.database) == A


def test_the_same_again_writes_nothing(services: Services) -> None:
    """What is live already is said to be, and the history stays as it is."""
    first = put(services, A)
    again = put(services, A)
    assert (again.is_new, again.entry) == (False, first.entry)
    assert rows(services) == 1
    put(services, B, share=0.5)
    assert not put(services, B, share=0.5).is_new
    assert put(services, B, share=SHADOW).is_new
    assert rows(services) == 3


def test_a_trial_ends_by_promoting_withdrawing_or_replacing(services: Services) -> None:
    """The candidate becomes live, or goes and leaves what is live alone."""
    put(services, A)
    put(services, B, share=0.2)
    assert back(services).entry.state == State(A.version)
    put(services, B, share=0.2)
    promoted = promote(services.database, policy=DEFAULT_POLICY, author=ANN, lease_s=LEASE_S)
    assert (promoted.entry.action, promoted.entry.state) == (Action.PROMOTE, State(B.version))
    put(services, C, share=0.2)
    assert put(services, A).entry.state == State(A.version)
    assert back(services).entry.state == State(B.version)
    assert back(services).entry.state == State(A.version)
    assert back(services).entry.state == State()
    written = rows(services)
    with pytest.raises(InputRefused, match="nothing before"):
        back(services)
    with pytest.raises(InputRefused, match="no candidate"):
        promote(services.database, policy=DEFAULT_POLICY, author=ANN, lease_s=LEASE_S)
    assert rows(services) == written


def test_nothing_is_tried_against_itself(services: Services) -> None:
    """What is live for a policy cannot be its candidate."""
    put(services, A)
    with pytest.raises(InputRefused, match="nothing to try"):
        put(services, A, share=0.5)
    assert rows(services) == 1


@pytest.mark.parametrize(
    ("policy", "share"),
    [
        ("", None),
        ("x" * 201, None),
        ("nul\0", None),
        ("half \ud83d", None),
        ("two\nlines", None),
        ("ads", 1.0),
        ("ads", -0.1),
        ("ads", float("nan")),
    ],
)
def test_what_makes_no_sense_is_refused(
    services: Services, policy: str, share: float | None
) -> None:
    """A name that no policy can have, and a share that is none, write nothing."""
    with pytest.raises(InputRefused):
        put(services, A, policy=policy, share=share)
    assert rows(services) == 0


def test_another_models_calibration_is_refused(services: Services) -> None:
    """Compared with living workers, else with what is live, else with the set model."""
    with pytest.raises(InputRefused, match="the set model"):
        put(services, OTHER)
    put(services, A)
    with pytest.raises(InputRefused, match=f"{A.version}, which is live"):
        put(services, OTHER)
    live_worker(services, model=OTHER.artifact.fingerprint)
    with pytest.raises(InputRefused, match="the living workers"):
        put(services, B)
    put(services, OTHER)
    with pytest.raises(InputRefused, match="the living workers"):
        back(services)
    live_worker(services, model=A.artifact.fingerprint)
    assert "1 of 2 living workers have another model" in " ".join(put(services, B).warnings)
    assert rows(services) == 3


def test_the_set_model_is_known_from_its_calibration(services: Services, tmp_path: Path) -> None:
    """The bundled one's, or that of the file that workers are started with."""
    assert set_model(services.settings) == A.artifact.fingerprint
    file = tmp_path / "other.json"
    file.write_text(OTHER.artifact.model_dump_json())
    changed = services.settings.model_copy(update={"model": "x:y", "calibration_file": file})
    assert set_model(changed) == OTHER.artifact.fingerprint


def test_what_one_should_mind_is_said(services: Services) -> None:
    """No labels, and a policy that nobody sends."""
    new = NewSubmission("acme", None, "ads", "a ball", ImageRef(url="https://example.com/a"))
    with services.database.begin() as connection:
        submissions.accept(connection, [new], message_id="m")
    assert put(services, A, policy="ads").warnings == ()
    said = " ".join(put(services, named(cold_start=True), policy="adz").warnings)
    assert "without labels" in said
    guess = {"point": 0.5, "lower": 0.45, "upper": 0.55}
    blind = named(report=DEMO["report"] | {"auc": guess})
    assert "no better than chance" in " ".join(put(services, blind).warnings)
    assert "No recent submission has the policy adz; they have: ads." in said


def test_publishing_at_once_is_publishing_in_turn(services: Services) -> None:
    """However many publish side by side, each builds on the entry before it."""
    put(services, A)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for step in range(6):
            one = named(threshold=(1 + number * 6 + step) / 100)
            put(services, one, share=None if number % 2 else 0.5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with services.database.connect() as connection:
        history = calibrations.history(connection)[::-1]
    assert len(history) == 49
    for before, entry in pairwise(history):
        if entry.state.candidate_version:
            assert entry.state.live_version == before.state.live_version


def test_publishing_the_same_at_once_writes_one_entry(services: Services) -> None:
    """Of eight equal requests one changes something."""
    with ThreadPoolExecutor(8) as pool:
        changes = list(pool.map(lambda _: put(services, A), range(8)))
    assert sum(change.is_new for change in changes) == 1
    assert rows(services) == 1


def test_a_beginning_of_several_versions_names_none(services: Services) -> None:
    """An ambiguous version is refused with what it may be, an unknown one too."""
    put(services, A)
    put(services, B)
    with pytest.raises(InputRefused, match=A.version):
        find("c-", services.database)
    with pytest.raises(InputRefused, match="neither a file nor a published version"):
        find("c-nothing", services.database)


def taking_up(services: Services, base: Named | None) -> Calibrations:
    """What a worker holds, started with a calibration or without one."""
    model: Any = SimpleNamespace(fingerprint=A.artifact.fingerprint, spec="demo-tiny")
    calibration = base.artifact.to_calibration() if base else None
    return Calibrations(model, calibration, services.metrics)


def look(services: Services, held: Calibrations) -> bool:
    """One look of a worker."""
    with services.database.begin() as connection:
        return held.look(connection)


def refused(services: Services) -> float | None:
    """What the worker's metric says."""
    return services.metrics.registry.get_sample_value("captionguard_refused_publications")


def test_a_worker_takes_up_what_is_new_and_only_that(services: Services) -> None:
    """The first look finds what is there, a second nothing, and one after a change the change."""
    held = taking_up(services, C)
    assert look(services, held)
    assert held.current.default.live.version == C.version
    assert not look(services, held)
    entry = put(services, A).entry
    before = held.current
    assert look(services, held)
    assert before.default.live.version == C.version, "what a message began with stays"
    assert held.current.default.live == A.artifact.to_calibration()
    assert held.current.publication == entry.id


def test_what_never_changes_is_read_once(services: Services) -> None:
    """A change of one policy reads no calibration of the others again: there may be thousands."""
    own = [named(threshold=0.3 + n / 100) for n in range(5)]
    for n, calibration in enumerate(own):
        put(services, calibration, policy=f"policy {n}")
    put(services, A)
    held = taking_up(services, None)
    look(services, held)
    put(services, B, policy="policy 0")
    read: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM calibrations" in statement:
            read.append(statement)

    event.listen(services.database, "before_cursor_execute", note)
    look(services, held)
    event.remove(services.database, "before_cursor_execute", note)
    assert len(read) == 1
    assert held.current.for_policy("policy 0").live.version == B.version
    assert held.current.for_policy("policy 4").live.version == own[4].version


def test_a_worker_without_any_calibration_does_not_start(services: Services) -> None:
    """With none of its own and none published for its model there is nothing to judge with."""
    with pytest.raises(CalibrationRefused, match="none is published"):
        look(services, taking_up(services, None))
    live_worker(services, model=OTHER.artifact.fingerprint)
    put(services, OTHER)
    with pytest.raises(CalibrationRefused, match="the weights differ"):
        look(services, taking_up(services, None))


def test_a_worker_starts_with_the_newest_of_its_own_model(services: Services) -> None:
    """What was published for its model holds, though another model's came after it."""
    put(services, A)
    live_worker(services, model=OTHER.artifact.fingerprint)
    put(services, OTHER)
    held = taking_up(services, None)
    look(services, held)
    assert held.current.default.live.version == A.version
    assert refused(services) == 1


def test_a_database_that_fails_in_the_middle_changes_nothing(services: Services) -> None:
    """What held before holds, and the next look takes up what this one could not read."""
    put(services, A)
    held = taking_up(services, C)
    look(services, held)
    put(services, B)
    with services.database.begin() as locking:
        locking.execute(text("LOCK TABLE calibrations IN ACCESS EXCLUSIVE MODE"))
        with services.database.connect() as connection:
            connection.execute(text("SET statement_timeout = 100"))
            with pytest.raises(OperationalError):
                held.look(connection)
            connection.invalidate()
    assert held.current.default.live.version == A.version
    assert look(services, held)
    assert held.current.default.live.version == B.version


@pytest.mark.parametrize(("who", "why"), [("", "a test"), ("ann", "  "), ("ann", "a\x1b[2J")])
def test_a_change_has_a_name_and_a_reason(who: str, why: str) -> None:
    """Neither may be empty, nor steer the terminal of whoever reads the history."""
    with pytest.raises(InputRefused, match="must say something"):
        Author(who, why)


def test_a_broken_entry_is_told_once_and_changes_nothing(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last good state holds until something good is published; the metric says so."""
    put(services, A, policy="ads")
    held = taking_up(services, C)
    look(services, held)
    with services.database.begin() as connection:
        calibrations.keep(connection, Stored("c-broken", "model", '{"threshold": 7}'))
        calibrations.append(
            connection,
            policy="ads",
            action=Action.PUBLISH,
            state=State("c-broken"),
            who="mallory",
            why="by hand",
        )
    assert look(services, held)
    put(services, B)
    assert look(services, held)
    assert held.current.for_policy("ads").live.version == A.version
    assert held.current.default.live.version == B.version
    assert refused(services) == 1
    # Where lines go to differs with what ran before in this process.
    said = "".join(capsys.readouterr())
    (line,) = [line for line in said.splitlines() if "publication_refused" in line]
    assert "mallory" in line
    put(services, C, policy="ads")
    look(services, held)
    assert (held.current.for_policy("ads").live.version, refused(services)) == (C.version, 0)
