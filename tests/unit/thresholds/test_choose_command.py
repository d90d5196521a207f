"""`choose` and `evaluate` as they are typed: documents, exit statuses, and what is written."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moderation.errors import CalibrationRefused, InputRefused
from moderation.settings import Settings
from thresholds.artifact import Artifact, read_artifact, write_artifact
from thresholds.calibrate import calibrate
from thresholds.cli import main
from thresholds.cosines import read_cosines
from thresholds.held_out import read_held_out
from thresholds.labels import Labels
from thresholds.models import Model, NamedModel
from thresholds.sources import Source

MODEL = NamedModel("some:model", "a1" * 32, "b2" * 32)
OTHER = NamedModel("other:model", "c3" * 32, "d4" * 32)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        document: dict[str, Any] = json.loads(self.out)
        return document


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `thresholds` with arguments, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("thresholds.reliability._RESAMPLES", 10)
    monkeypatch.setattr("thresholds.resampling.RESAMPLES", 20)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["thresholds", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


def _write(path: Path, n_images: int = 600, *, seed: int = 0) -> Path:
    """Write a match and a mismatch of each image."""
    rng = np.random.default_rng(seed)
    lines = ["cosine,label,image,kind"]
    for image in range(n_images):
        lines.append(f"{rng.normal(0.32, 0.05):.4f},match,{image},own")
        kind = ("random", 0.1) if image % 2 else ("negation", 0.25)
        lines.append(f"{rng.normal(kind[1], 0.05):.4f},mismatch,{image},{kind[0]}")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A calibration and the labels that it was made from."""
    folder = tmp_path_factory.mktemp("calibrated")
    labels = _write(folder / "labels.csv")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thresholds.calibrate._RESAMPLES", 10)
        monkeypatch.setattr("thresholds.reliability._RESAMPLES", 10)
        artifact = calibrate(read_cosines(labels, labels.read_text()).labels, MODEL)
    write_artifact(artifact, folder / "calibration.json")
    return folder / "calibration.json", labels


def test_choosing_prints_one_document(
    run: Run, calibrated: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its keys are those that tools rely on, and the calibration written is the one it names."""
    out = tmp_path / "new.json"
    ran = run(
        "choose", *calibrated, "--recall-min", 0.8, "--prevalence", 0.05, "--guarantee", 0.95,
        "--out", out, "--json",
    )  # fmt: skip
    assert ran.status == 0
    document = ran.document
    new = read_artifact(out)
    assert new.choice is not None
    assert document["threshold"] == new.threshold
    assert document["new_calibration"] == new.version
    assert (document["feasible"], document["guarantee"]) == (True, 0.95)
    assert document["recall"] == new.choice.recall.model_dump()
    assert document["precision"] == new.choice.precision.model_dump()
    assert set(document["recall"]) == {"point", "lower", "upper"}
    assert document["missing_labels"] == {"matches": 0, "mismatches": 0}
    assert (document["prevalence"], document["prevalence_source"]) == (0.05, "given")
    assert ran.err == ""


def test_what_cannot_be_guaranteed_ends_with_4(
    run: Run, calibrated: tuple[Path, Path], tmp_path: Path
) -> None:
    """It says how many labels of which class are missing, and leaves what was there."""
    out = tmp_path / "new.json"
    out.write_text("what was there")
    arguments = ("choose", *calibrated, "--precision-min", 0.45, "--recall-min", 0.75)
    ran = run(*arguments, "--guarantee", 0.95, "--prevalence", 0.1, "--out", out, "--json")
    assert ran.status == 4
    assert ran.document["feasible"] is False
    assert ran.document["threshold"] is None
    assert ran.document["recall"] is None
    missing = ran.document["missing_labels"]
    assert missing["matches"] + missing["mismatches"] > 0
    assert out.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [out]
    told = run(*arguments, "--guarantee", 0.95, "--prevalence", 0.1).err
    assert f"{missing['matches']:,} matches" in told
    assert f"{missing['mismatches']:,} mismatches" in " ".join(told.split())


def test_keeping_the_standard_threshold_is_said(run: Run, calibrated: tuple[Path, Path]) -> None:
    """In words and in the document, with the prevalence, that of the labels if none is given."""
    arguments = ("choose", *calibrated, "--precision-min", 0.6)
    told = " ".join(run(*arguments).err.split())
    assert "0.35 reaches it and stays" in told
    assert "Nothing was written: --out FILE.json keeps it." in told
    assert "where 50 % of posts are mismatches, as in the labels" in told
    document = run(*arguments, "--json").document
    assert (document["keeps_default"], document["threshold"]) == (True, 0.35)
    assert (document["prevalence"], document["prevalence_source"]) == (0.5, "labels")


def test_a_capacity_is_told_in_reviews(run: Run, calibrated: tuple[Path, Path]) -> None:
    """Reviews a day and posts a day make the share that may be flagged."""
    ran = run(
        "choose", *calibrated, "--reviews-per-day", 200, "--traffic-per-day", 10_000,
        "--prevalence", 0.02,
    )  # fmt: skip
    assert ran.status == 0
    assert "flags <= 2 % of posts" in ran.err
    assert "of 10,000 posts a day are flagged" in ran.err


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="no target"),
        pytest.param(["--precision-min", "2"], id="precision above 1"),
        pytest.param(["--recall-min", "0"], id="no recall"),
        pytest.param(["--recall-min", ".9", "--prevalence", "1"], id="all mismatches"),
        pytest.param(["--recall-min", ".9", "--guarantee", "95"], id="confidence in percent"),
        pytest.param(["--reviews-per-day", "9"], id="no traffic"),
        pytest.param(["--recall-min", ".9", "--traffic-per-day", "0"], id="no posts"),
        pytest.param(
            ["--recall-min", ".9", "--reviews-per-day", "9", "--traffic-per-day", "99"],
            id="contradiction",
        ),
        pytest.param(["--recall-min", ".9", "--from-decisions"], id="a file and decisions"),
    ],
)
def test_wrong_options_are_wrong_usage(
    run: Run, calibrated: tuple[Path, Path], options: list[str]
) -> None:
    """They end with 2 and an explanation, before anything is read."""
    ran = run("choose", *calibrated, *options)
    assert ran.status == 2
    assert "Error" in ran.err


def test_bad_input_writes_nothing(run: Run, calibrated: tuple[Path, Path], tmp_path: Path) -> None:
    """Few labels, one class, labels that are not fresh, a threshold that is none."""
    calibration, labels = calibrated
    out = tmp_path / "new.json"
    few = _write(tmp_path / "few.csv", 20)
    one = tmp_path / "one.csv"
    one.write_text("cosine,label\n" + "0.3,match\n" * 100)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(calibration.read_text().replace('"threshold":0.35', '"threshold":35'))
    document = json.loads(calibration.read_text()) | {"threshold": 1.0}
    wrong.write_text(json.dumps(document))
    for arguments, problem in (
        ((calibration, few), "30 matches are needed, there are 20"),
        ((calibration, one), "30 mismatches are needed, there are 0"),
        ((calibration, labels, "--fresh"), "not fresh"),
        ((wrong, labels), "threshold"),
    ):
        ran = run("choose", *arguments, "--recall-min", 0.9, "--out", out)
        assert ran.status == 1
        assert problem in " ".join(ran.err.split())
        assert not out.exists()


def test_evaluating_prints_one_document(run: Run, calibrated: tuple[Path, Path]) -> None:
    """Each figure with its interval, kind by kind, on labels set aside or fresh ones."""
    ran = run("evaluate", *calibrated, "--prevalence", 0.1, "--json")
    assert (ran.status, ran.err) == (0, "")
    document = ran.document
    for name in (
        "recall", "false_positive_rate", "precision", "accuracy", "f1", "auc", "brier_score",
        "expected_calibration_error",
    ):  # fmt: skip
        interval = document[name]
        assert interval["lower"] <= interval["point"] <= interval["upper"]
    assert (document["prevalence"], document["threshold"]) == (0.1, 0.35)
    kinds = {kind["kind"]: kind for kind in document["kinds"]}
    assert set(kinds) == {"own", "random", "negation"}
    assert kinds["random"]["auc"]["point"] > kinds["negation"]["auc"]["point"]
    assert "recall" in kinds["negation"]
    assert "false_positive_rate" in kinds["own"]
    assert sum(kind["n"] for kind in kinds.values()) == document["n"] < 600


def test_an_evaluation_reads_well(run: Run, calibrated: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevalence stands beside what depends on it, and no line is wider than a terminal."""
    fresh = _write(tmp_path / "fresh.csv", seed=1)
    other = tmp_path / "other.json"
    artifact = read_artifact(calibrated[0])
    write_artifact(artifact.model_copy(update={"threshold": 0.6}), other)
    ran = run("evaluate", calibrated[0], fresh, "--fresh", "--prevalence", 0.02, "--against", other)
    assert ran.status == 0
    for told in ("600 matches", "precision at 2 %", "accuracy at 2 %", "mismatch: negation"):
        assert told in ran.err
    assert "more than chance" in ran.err
    assert max(map(len, ran.err.splitlines())) <= 80
    compared = run(
        "evaluate", calibrated[0], fresh, "--fresh", "--against", other, "--json"
    ).document
    assert compared["differences"]["recall"]["is_more_than_chance"] is True
    assert compared["differences"]["auc"]["is_more_than_chance"] is False
    assert compared["against"]["threshold"] == 0.6


def test_the_prevalence_is_the_one_that_was_chosen_for(
    run: Run, calibrated: tuple[Path, Path], tmp_path: Path
) -> None:
    """If none is given; that of the labels where no threshold was chosen."""
    calibration, labels = calibrated
    new = tmp_path / "new.json"
    run("choose", *calibrated, "--recall-min", 0.6, "--prevalence", 0.03, "--out", new)
    for chosen, expected in ((new, (0.03, "choice")), (calibration, (0.5, "labels"))):
        document = run("evaluate", chosen, labels, "--json").document
        assert (document["prevalence"], document["prevalence_source"]) == expected


@pytest.mark.parametrize("prevalence", [0, 1, -1, "nan"])
def test_a_prevalence_lies_between_0_and_1(
    run: Run, calibrated: tuple[Path, Path], prevalence: object
) -> None:
    """What is no share of posts is wrong usage."""
    assert run("evaluate", *calibrated, "--prevalence", prevalence).status == 2


def _artifact_of(calibrated: tuple[Path, Path], model: NamedModel) -> Artifact:
    hashes = {
        "model": model.spec,
        "weights_sha256": model.weights_sha256,
        "preprocessing_sha256": model.preprocessing_sha256,
    }
    return read_artifact(calibrated[0]).model_copy(update=hashes)


def _scored_by(model: Model | None, cosines: float = 0.0) -> Source:
    rng = np.random.default_rng(0)
    is_match = np.arange(800) % 2 == 0
    labels = Labels.of(
        rng.normal(np.where(is_match, 0.32, 0.18), 0.05) + cosines,
        is_match,
        images=(np.arange(800) // 2).astype(np.str_),
    )
    return Source(labels, model)


def test_each_of_two_models_is_measured_on_its_own_cosines(calibrated: tuple[Path, Path]) -> None:
    """Pairs are scored with the model of each calibration, once where both have the same."""
    asked: list[str] = []

    def read(settings: Settings) -> Source:
        asked.append(settings.model)
        is_ours = settings.model == MODEL.spec
        return _scored_by(MODEL if is_ours else OTHER, 0.0 if is_ours else 0.1)

    ours, theirs = (_artifact_of(calibrated, model) for model in (MODEL, OTHER))
    path = calibrated[0]
    held = read_held_out([(path, ours), (path, theirs)], Settings(), read, fresh=False)
    assert asked == [MODEL.spec, OTHER.spec]
    np.testing.assert_allclose(held.labels[1].cosines - held.labels[0].cosines, 0.1)
    again = ours.model_copy(update={"threshold": 0.5})
    read_held_out([(path, ours), (path, again)], Settings(), read, fresh=False)
    assert asked[2:] == [MODEL.spec]


def test_cosines_are_of_one_model_only(calibrated: tuple[Path, Path]) -> None:
    """A file of cosines cannot tell two models apart; labels of another model are refused."""
    ours, theirs = (_artifact_of(calibrated, model) for model in (MODEL, OTHER))
    path = calibrated[0]
    with pytest.raises(InputRefused, match="two models"):
        read_held_out(
            [(path, ours), (path, theirs)], Settings(), lambda _: _scored_by(None), fresh=False
        )
    with pytest.raises(CalibrationRefused, match="was made for some:model"):
        read_held_out([(path, ours)], Settings(), lambda _: _scored_by(OTHER), fresh=False)
