"""What is published reaches a running worker, whatever it is doing, and nothing gets lost."""

import base64
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from scipy.stats import binomtest
from sqlalchemy import text

from moderation.demo import MODEL_CALIBRATION, MODEL_CONFIG, MODEL_WEIGHTS
from moderation.published import place
from moderation.store import database
from tests.conftest import Machine, Servers, eventually
from tests.integration.conftest import picture
from thresholds.artifact import Artifact
from thresholds.registry import SHADOW, Author, Change, promote, publish, roll_back
from thresholds.versions import Named

DEMO = json.loads(MODEL_CALIBRATION.read_text())
ANN = Author("ann", "a test")
LEASE_S = 5.0


def named(**changes: Any) -> Named:
    """The bundled calibration with changes."""
    artifact = Artifact.model_validate_json(json.dumps(DEMO | changes))
    return Named(artifact.version, artifact)


FIRST = named()
# Flags everything, so that what it decides is seen.
STRICT = named(threshold=0.999999)


@pytest.fixture(scope="module")
def machine(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose worker has no calibration file: it starts with what is published."""
    folder = tmp_path_factory.mktemp("model")
    config = {"model_cfg": json.loads(MODEL_CONFIG.read_text()), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(MODEL_WEIGHTS, folder / "open_clip_model.safetensors")
    url = servers.database()
    engine = database.connect(url)
    database.migrate(engine)
    publish(
        engine,
        FIRST,
        policy="default",
        share=None,
        author=ANN,
        lease_s=LEASE_S,
        set_model=lambda: FIRST.artifact.fingerprint,
    )
    engine.dispose()
    running = Machine(
        tmp_path_factory.mktemp("machine"),
        CAPTIONGUARD_DATABASE_URL=url,
        CAPTIONGUARD_MODEL=f"local-dir:{folder}",
        COLUMNS="80",
    )
    yield running
    running.stop()


PICTURE = base64.b64encode(picture()).decode()


def submit(machine: Machine, n: int, *, policy: str) -> list[str]:
    """Hand in posts of a policy; their ids."""
    post = {"caption": "a red ball", "image_base64": PICTURE, "policy": policy}
    answer = machine.http.post("/v1/submissions/batch", json={"submissions": [post] * n})
    assert answer.status_code == 202, answer.text
    return [accepted["id"] for accepted in answer.json()["submissions"]]


def verdicts(machine: Machine, ids: list[str]) -> dict[str, dict[str, Any]]:
    """The verdicts of posts, waited for, by id."""
    query = (
        "SELECT submission_id, calibration_version, outcome, score, threshold FROM verdicts"
        " WHERE submission_id = ANY(:ids)"
    )
    wanted = [UUID(id_) for id_ in ids]
    eventually(lambda: len(machine.query(query, ids=wanted)) == len(ids))
    names = ("version", "outcome", "score", "threshold")
    found = machine.query(query, ids=wanted)
    return {str(row[0]): dict(zip(names, row[1:], strict=True)) for row in found}


def versions(machine: Machine, ids: list[str]) -> set[str]:
    """The versions that posts were judged by."""
    return {verdict["version"] for verdict in verdicts(machine, ids).values()}


def tell(machine: Machine, *arguments: str) -> dict[str, Any]:
    """A command of `captionguard thresholds` that changes something; what it says to tools."""
    done = machine.run("thresholds", *arguments, "--why", "a test", "--who", "ann", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["workers"]["acting"] == 1
    assert document["workers"]["lagging"] == []
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["calibration_published"] * document["changed"]
    return document


def written(folder: Path, calibration: Named) -> str:
    """A calibration as a file; its path."""
    path = folder / f"{calibration.version}.json"
    path.write_text(calibration.artifact.model_dump_json())
    return str(path)


def put(machine: Machine, calibration: Named, *, policy: str, share: float | None = None) -> Change:
    """Publish without the command, and wait for the worker."""
    change = publish(
        machine.database,
        calibration,
        policy=policy,
        share=share,
        author=ANN,
        lease_s=LEASE_S,
        set_model=lambda: "",
    )
    taken_up(machine, change.entry.id)
    return change


def back(machine: Machine, policy: str) -> None:
    """Roll back without the command, and wait for the worker."""
    change = roll_back(machine.database, policy=policy, author=ANN, lease_s=LEASE_S)
    taken_up(machine, change.entry.id)


def taken_up(machine: Machine, publication: int) -> None:
    """Wait until the worker says that it acts on a publication."""
    eventually(
        lambda: bool(machine.query("SELECT 1 FROM workers WHERE publication >= :p", p=publication))
    )


def metrics(machine: Machine) -> str:
    """The worker's page."""
    url = str(machine.query("SELECT metrics_url FROM workers")[0][0])
    return httpx.get(url, trust_env=False).text


def counted(machine: Machine, live: str, candidate: str) -> float:
    """How many posts of the policy `shadowed` the strict calibration judged so in the shadow."""
    (value,) = re.findall(
        rf'shadow_verdicts_total{{candidate="{candidate}",live="{live}",policy="shadowed",'
        rf'version="{STRICT.version}"}} (\S+)',
        metrics(machine),
    )
    return float(value)


def test_a_worker_without_a_file_starts_with_what_is_published(machine: Machine) -> None:
    """Its first verdict names the version that was live before it started."""
    assert versions(machine, submit(machine, 1, policy="default")) == {FIRST.version}


def test_a_publish_reaches_a_worker_that_works(machine: Machine) -> None:
    """Under traffic each post gets one verdict, of the old or the new version, then of the new."""
    pid = machine.worker_pid()
    tried = [named(threshold=threshold) for threshold in (0.31, 0.32, 0.33)]
    ids: list[str] = []
    done = threading.Event()

    def keep_submitting() -> None:
        while not done.is_set():
            ids.extend(submit(machine, 20, policy="busy"))

    traffic = threading.Thread(target=keep_submitting)
    traffic.start()
    try:
        for calibration in tried:
            put(machine, calibration, policy="busy")
            eventually(
                lambda version=calibration.version: (
                    len(
                        machine.query(
                            "SELECT 1 FROM verdicts JOIN submissions ON submission_id = id WHERE"
                            " policy = 'busy' AND calibration_version = :version",
                            version=version,
                        )
                    )
                    >= 60
                )
            )
    finally:
        done.set()
        traffic.join()
    assert versions(machine, ids) <= {FIRST.version, *(one.version for one in tried)}
    assert versions(machine, submit(machine, 40, policy="busy")) == {tried[-1].version}
    attempts = machine.query(
        "SELECT DISTINCT attempts, faults FROM submissions WHERE policy = 'busy'"
    )
    assert attempts == [(1, 0)], "no post was taken up twice"
    assert machine.worker_pid() == pid, "the worker was not restarted"
    assert versions(machine, submit(machine, 1, policy="default")) == {FIRST.version}


def test_policies_have_thresholds_of_their_own(machine: Machine) -> None:
    """The same post passes or is flagged by the policy that it belongs to."""
    lenient = named(threshold=1e-9)
    put(machine, STRICT, policy="ads")
    put(machine, lenient, policy="comments")
    for policy, calibration, outcome in (
        ("ads", STRICT, "flag"),
        ("comments", lenient, "pass"),
        ("marketplace", FIRST, None),
    ):
        (verdict,) = verdicts(machine, submit(machine, 1, policy=policy)).values()
        assert verdict["version"] == calibration.version
        assert verdict["threshold"] == calibration.artifact.threshold
        assert outcome in (None, verdict["outcome"])


def test_a_shadow_acts_on_nothing_and_is_counted(machine: Machine) -> None:
    """Verdicts are the live calibration's; what the candidate would have said is in a metric."""
    put(machine, named(threshold=1e-9), policy="shadowed")
    put(machine, STRICT, policy="shadowed", share=SHADOW)
    assert counted(machine, "pass", "flag") == 0, "the series is there before the first"
    ids = submit(machine, 7, policy="shadowed")
    assert {v["outcome"] for v in verdicts(machine, ids).values()} == {"pass"}
    assert STRICT.version not in versions(machine, ids)
    eventually(lambda: counted(machine, "pass", "flag") == 7)
    assert counted(machine, "pass", "pass") == 0


def test_a_trial_decides_its_share_until_it_is_promoted(machine: Machine) -> None:
    """The candidate judges the posts that its hash names, then all, and after a rollback none."""
    put(machine, FIRST, policy="trial")
    put(machine, STRICT, policy="trial", share=0.3)
    found = verdicts(machine, submit(machine, 256, policy="trial"))
    for id_, verdict in found.items():
        decides = STRICT if place(STRICT.version, UUID(id_)) < 0.3 else FIRST
        assert verdict["version"] == decides.version
    decided = sum(verdict["version"] == STRICT.version for verdict in found.values())
    assert binomtest(decided, 256, 0.3).pvalue > 1e-4
    change = promote(machine.database, policy="trial", author=ANN, lease_s=LEASE_S)
    taken_up(machine, change.entry.id)
    assert versions(machine, submit(machine, 20, policy="trial")) == {STRICT.version}
    back(machine, "trial")
    assert versions(machine, submit(machine, 20, policy="trial")) == {FIRST.version}


def test_two_rollbacks_go_back_two(machine: Machine) -> None:
    """And the one after them to the default's; then there is nothing left to go back to."""
    second, third = named(threshold=0.36), named(threshold=0.37)
    put(machine, second, policy="steps")
    put(machine, third, policy="steps")
    assert versions(machine, submit(machine, 1, policy="steps")) == {third.version}
    for expected in (second, FIRST):
        back(machine, "steps")
        assert versions(machine, submit(machine, 1, policy="steps")) == {expected.version}
    entries = machine.query("SELECT count(*) FROM publications")
    done = machine.run("thresholds", "rollback", "--policy", "steps", "--why", "x", check=False)
    assert done.returncode == 1
    assert "nothing before" in done.stderr
    assert machine.query("SELECT count(*) FROM publications") == entries


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights_sha256": "0" * 64}, "not for the model of the living workers"),
        ({"threshold": 1.0}, "threshold"),
    ],
)
def test_what_is_wrong_is_not_published(
    machine: Machine, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    """A calibration of another model or a broken one ends with status 1 and writes nothing."""
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(DEMO | change))
    before = machine.query("SELECT count(*) FROM publications, calibrations")
    done = machine.run("thresholds", "publish", str(file), "--why", "x", check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert machine.query("SELECT count(*) FROM publications, calibrations") == before


def test_a_broken_entry_stops_nobody(machine: Machine) -> None:
    """A row that no worker can read leaves the policy as it was, is logged once and counted."""
    put(machine, STRICT, policy="broken")
    with machine.database.begin() as connection:
        connection.execute(
            text("INSERT INTO calibrations (version, model, artifact) VALUES ('c-x', 'm', '[1]')")
        )
        connection.execute(
            text(
                "INSERT INTO publications (policy, action, live_version, who, why)"
                " VALUES ('broken', 'publish', 'c-x', 'mallory', 'by hand')"
            )
        )
    eventually(lambda: "captionguard_refused_publications 1.0" in metrics(machine))
    assert versions(machine, submit(machine, 3, policy="broken")) == {STRICT.version}
    log = (machine.data_dir / "logs" / "worker.log").read_text()
    (line,) = [line for line in log.splitlines() if '"publication_refused"' in line]
    assert json.loads(line)["level"] == "error"
    assert "c-x is no calibration" in json.loads(line)["reason"]
    put(machine, FIRST, policy="broken")
    assert "captionguard_refused_publications 0.0" in metrics(machine)


def test_a_way_back_that_a_worker_does_not_have(machine: Machine) -> None:
    """Without a file, a worker keeps what it has, and the rollback ends with status 4."""
    done = machine.run("thresholds", "rollback", "--why", "too far", check=False)
    assert done.returncode == 4
    assert "0 of 1 worker acts on it" in done.stderr
    assert "publication_refused" in done.stderr
    assert versions(machine, submit(machine, 1, policy="default")) == {FIRST.version}
    put(machine, FIRST, policy="default")


def test_a_locked_history_keeps_no_worker_from_living(machine: Machine) -> None:
    """Whoever locks the table for longer than a lease, beats go on and posts are judged."""
    with machine.database.begin() as connection:
        connection.execute(text("LOCK TABLE publications IN ACCESS EXCLUSIVE MODE"))
        locked_s = time.monotonic()
        while time.monotonic() < locked_s + 1.2 * LEASE_S:
            time.sleep(0.2)
            (age,) = machine.query("SELECT extract(epoch FROM now() - max(beat_at)) FROM workers")
            assert float(str(age[0])) < LEASE_S
        assert versions(machine, submit(machine, 1, policy="default")) == {FIRST.version}
    put(machine, STRICT, policy="afterwards")
    assert versions(machine, submit(machine, 1, policy="afterwards")) == {STRICT.version}


def test_a_restarted_worker_judges_by_what_is_published(machine: Machine) -> None:
    """What was taken up holds for the next process too, from its first post on."""
    put(machine, STRICT, policy="again")
    pid = machine.worker_pid()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: machine.worker_pid() != pid)
    assert versions(machine, submit(machine, 1, policy="again")) == {STRICT.version}


def test_people_read_it_in_80_columns(machine: Machine, tmp_path: Path) -> None:
    """Nothing of what the commands say is wider, however long names and reasons are."""
    policy = f"a policy of a long name {uuid4().hex * 3}"
    why = "a reason that is longer than a line " * 5
    file = written(tmp_path, STRICT)
    told = [
        machine.run("thresholds", "publish", file, "--policy", policy, "--why", why),
        machine.run("thresholds", "show"),
        machine.run("thresholds", "show", STRICT.version),
        machine.run("thresholds", "list"),
        machine.run("thresholds", "diff", FIRST.version, file),
        machine.run("doctor"),
    ]
    for done in told[:-1]:
        assert max(map(len, done.stderr.splitlines())) <= 80, done.stderr
    assert "1 of 1 worker acts on it" in told[0].stderr
    assert "longer than a line" in told[3].stderr
    assert "are flagged instead of passed" in told[4].stderr
    # The doctor's lines are wrapped where they happen to be full.
    assert f"published: default has {FIRST.version}" in " ".join(told[5].stderr.split())


def test_tools_read_it_as_json(machine: Machine, tmp_path: Path) -> None:
    """Each command prints one document, and an artifact comes back as it was published."""
    file = written(tmp_path, STRICT)
    said = tell(machine, "publish", file, "--policy", "tools", "--share", "0.25")
    assert said["publication"]["candidate_share"] == 0.25
    said = tell(machine, "publish", STRICT.version[:8], "--policy", "tools", "--share", "0.25")
    assert not said["changed"]
    said = tell(machine, "promote", "--policy", "tools")
    assert said["publication"]["live_version"] == STRICT.version
    said = tell(machine, "rollback", "--policy", "tools")
    assert said["publication"]["live_version"] is None

    def read(*arguments: str) -> Any:
        return json.loads(machine.run("thresholds", *arguments, "--json").stdout)

    history = read("list", "--policy", "tools")
    assert [entry["action"] for entry in history] == ["rollback", "promote", "publish"]
    assert {(entry["who"], entry["why"]) for entry in history} == {("ann", "a test")}
    current = {entry["policy"]: entry for entry in read("show")["policies"]}
    assert current["tools"] == history[0]
    shown = read("show", STRICT.version)
    assert Artifact.model_validate(shown["artifact"]) == STRICT.artifact
    assert read("diff", FIRST.version, STRICT.version)["verdicts_change"]["becomes"] == "flag"
