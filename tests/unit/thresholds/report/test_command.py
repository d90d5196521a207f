"""`captionguard thresholds report`, as it is called."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from moderation.errors import CalibrationRefused, InputRefused
from tests.unit.thresholds.report.labels import make_artifact, make_figures, make_labels
from thresholds.artifact import write_artifact
from thresholds.cli import app


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    """Write a calibration of a model that nobody can load."""
    write_artifact(make_artifact(), tmp_path / "calibration.json")
    return tmp_path / "calibration.json"


def _write_csv(path: Path) -> Path:
    labels = make_labels()
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["cosine", "label", "image", "kind", "split"])
        for cosine, is_match, image, kind in zip(
            labels.cosines, labels.is_match, labels.images, labels.kinds, strict=True
        ):
            out.writerow([cosine, "match" if is_match else "mismatch", image, kind, "report"])
    return path


def _report(*arguments: object) -> str:
    """Run it; return standard output."""
    result = CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_report_of_cosines(tmp_path: Path, calibration: Path) -> None:
    """It needs no model, and `--json` prints one document: the figures of the pictures."""
    labels, out = _write_csv(tmp_path / "labels.csv"), tmp_path / "report.html"
    printed = _report(calibration, labels, "--out", out, "--prevalence", 0.1, "--json")
    document = json.loads(printed)
    assert document.pop("refused") == []
    expected = make_figures().model_dump(mode="json")
    # Written and read again, labels have other names of their splits' images.
    assert document["operating_point"] == expected["operating_point"]
    assert document["curve"] == expected["curve"]
    assert out.read_text().startswith("<!DOCTYPE html>")
    first = out.read_bytes()
    assert _report(calibration, labels, "--out", out, "--prevalence", 0.1) == ""
    assert out.read_bytes() == first


def test_captions_and_images_of_a_file_of_cosines_are_shown(
    tmp_path: Path, calibration: Path
) -> None:
    """Where the file has captions and names images beside it, the mistakes have thumbnails."""
    labels = make_labels(gap=0.05)
    Image.new("RGB", (60, 40), "#336699").save(tmp_path / "a.png")
    file = tmp_path / "labels.jsonl"
    with file.open("w") as lines:
        for cosine, is_match in zip(labels.cosines, labels.is_match, strict=True):
            row = {"cosine": cosine, "label": "match" if is_match else "mismatch"}
            row |= {"image": "a.png", "caption": "<b>a dog</b>", "split": "report"}
            lines.write(json.dumps(row) + "\n")
    out = tmp_path / "report.html"
    _report(calibration, file, "--out", out)
    page = out.read_text()
    assert page.count('<img src="data:image/webp;base64,') == 24
    assert page.count("&lt;b&gt;a dog&lt;/b&gt;") == 24


def test_nobody_waits_for_scores_that_have_nowhere_to_go(tmp_path: Path, calibration: Path) -> None:
    """An unwritable path is refused before the model, which there is none of, is looked for."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"image": "a.png", "caption": "a dog", "label": "match"}\n')
    out = tmp_path / "missing" / "report.html"
    with pytest.raises(InputRefused, match="cannot be written"):
        _report(calibration, pairs, "--out", out)


def test_what_is_wrong_leaves_the_old_report(tmp_path: Path, calibration: Path) -> None:
    """Labels and calibrations that are refused change no file."""
    labels, out = _write_csv(tmp_path / "labels.csv"), tmp_path / "report.html"
    out.write_text("old")
    few = tmp_path / "few.csv"
    few.write_text("cosine,label\n0.3,match\n0.1,mismatch\n")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(InputRefused, match="at least 30 matches"):
        _report(calibration, few, "--out", out)
    with pytest.raises(CalibrationRefused, match="no calibration"):
        _report(broken, labels, "--out", out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "broken.json",
        "calibration.json",
        "few.csv",
        "labels.csv",
        "report.html",
    ]


@pytest.mark.parametrize(
    "option",
    [
        ("--prevalence", "0"),
        ("--prevalence", "1"),
        ("--prevalence", "nan"),
        ("--traffic-per-day", "0"),
        ("--traffic-per-day", "inf"),
    ],
)
def test_a_wrong_option_is_wrong_usage(
    tmp_path: Path, calibration: Path, option: tuple[str, str]
) -> None:
    """Shares that are none and no traffic end with status 2 and name the option."""
    labels, out = _write_csv(tmp_path / "labels.csv"), tmp_path / "report.html"
    arguments = ["report", str(calibration), str(labels), "--out", str(out), *option]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert option[0] in result.stderr
    assert not out.exists()
