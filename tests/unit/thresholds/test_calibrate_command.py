"""`thresholds calibrate` on files of cosines: what it writes, says and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from moderation.demo import MODEL_WEIGHTS
from moderation.errors import CalibrationRefused, InputRefused
from thresholds.artifact import calibration_for, read_artifact
from thresholds.cli import app

# As narrow as the terminals that the texts are written for.
RUNNER = CliRunner(env={"COLUMNS": "80"})


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw rough intervals: many resamples take seconds a calibration."""
    monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 20)
    monkeypatch.setattr("thresholds.reliability._RESAMPLES", 20)


@pytest.fixture
def cosines(tmp_path: Path) -> Path:
    """Cosines of 200 matches and 200 mismatches."""
    rng = np.random.default_rng(1)
    path = tmp_path / "cosines.csv"
    rows = [
        f"{rng.normal(0.32 if is_match else 0.18, 0.06):.5f},{'match' if is_match else 'mismatch'}"
        for is_match in np.arange(400) % 2 == 0
    ]
    path.write_text("cosine,label\n" + "\n".join(rows) + "\n")
    return path


def _run(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["calibrate", *map(str, arguments)])


def test_what_is_printed_is_what_is_written(cosines: Path, tmp_path: Path) -> None:
    """With --json, standard output is the artifact and nothing else."""
    out = tmp_path / "c.json"
    done = _run(cosines, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert read_artifact(out).report.n == json.loads(done.stdout)["report"]["n"]


def test_cosines_alone_name_no_model(cosines: Path, tmp_path: Path) -> None:
    """The calibration says so, in words too, and is refused for whatever model."""
    out = tmp_path / "c.json"
    done = _run(cosines, "--out", out)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert "names no model, so workers and publish refuse it" in said
    assert "--model NAME" in said
    artifact = read_artifact(out)
    assert artifact.model == "unnamed"
    with pytest.raises(CalibrationRefused, match="made for no named model"):
        calibration_for(artifact, fingerprint=f"{'a' * 16}-{'b' * 16}", spec="some:model")


def test_a_named_model_gives_its_hashes(cosines: Path, tmp_path: Path) -> None:
    """With --model the model is loaded for them, and a worker takes the calibration."""
    out = tmp_path / "c.json"
    done = _run(cosines, "--out", out, "--model", "demo-tiny", "--method", "beta")
    assert done.exit_code == 0, done.output
    artifact = read_artifact(out)
    assert (artifact.model, artifact.method) == ("demo-tiny", "beta")
    bundled = read_artifact(MODEL_WEIGHTS.with_name("demo-tiny.calibration.json"))
    assert artifact.fingerprint == bundled.fingerprint
    assert "CAPTIONGUARD_CALIBRATION_FILE" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "isotonic"], "isotonic needs 1,000 matches to fit on"),
        (["--cold-start"], "--cold-start needs pairs"),
    ],
)
def test_a_refusal_writes_nothing(
    cosines: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    """What was there before is still there, and no half of a new one beside it."""
    out = tmp_path / "out" / "c.json"
    out.parent.mkdir()
    out.write_text("before")
    done = _run(cosines, "--out", out, *options)
    assert isinstance(done.exception, InputRefused)
    assert says in str(done.exception)
    assert [path.name for path in out.parent.iterdir()] == ["c.json"]
    assert out.read_text() == "before"
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "c.json"],
        ["FILE"],
        ["FILE", "--from-decisions", "--out", "c.json"],
        ["FILE", "--since", "28d", "--out", "c.json"],
        ["--from-decisions", "--cold-start", "--out", "c.json"],
        ["--from-decisions", "--since", "yesterday", "--out", "c.json"],
        ["FILE", "--method", "temperature", "--out", "c.json"],
        ["FILE", "--threshold", "0", "--out", "c.json"],
        ["FILE", "--threshold", "nan", "--out", "c.json"],
        ["none.csv", "--out", "c.json"],
    ],
)
def test_wrong_usage_is_told_as_such(
    cosines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Options that do not go together end with status 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = _run(*(str(cosines) if argument == "FILE" else argument for argument in arguments))
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "c.json").exists()


def test_a_model_that_tells_nothing_is_told(tmp_path: Path) -> None:
    """Cosines that are alike for both classes give a calibration with a warning."""
    rng = np.random.default_rng(2)
    path = tmp_path / "cosines.csv"
    labels = ("match", "mismatch") * 300
    rows = [f"{rng.normal(0.25, 0.05):.5f},{label}" for label in labels]
    path.write_text("cosine,label\n" + "\n".join(rows) + "\n")
    done = _run(path, "--out", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    assert "no better than chance" in " ".join(done.stderr.split())


def test_a_model_that_tells_much_is_not_doubted(cosines: Path, tmp_path: Path) -> None:
    """Without a reason there is no warning."""
    done = _run(cosines, "--out", tmp_path / "c.json")
    assert "Mind:" not in done.stderr


def test_a_place_that_cannot_be_written_is_told_first(cosines: Path, tmp_path: Path) -> None:
    """Before anything is scored: a folder that is not there costs no hour of work."""
    for out in (tmp_path / "none" / "c.json", tmp_path):
        assert isinstance(_run(cosines, "--out", out).exception, InputRefused)


def test_help_fits_80_columns() -> None:
    """Every line of the help is as wide as a terminal at most, and it names all sources."""
    done = RUNNER.invoke(app, ["calibrate", "--help"])
    assert max(map(len, done.stdout.splitlines())) <= 80
    for part in ("--from-decisions", "CSV", "JSON lines", "1 or true"):
        assert part in " ".join(done.stdout.split())
