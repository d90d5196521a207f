"""`captionguard thresholds kinds`: what it prints, writes, refuses and exits with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moderation.errors import InputRefused
from tests.unit.thresholds.kinds.posts import read_lines, write_lines
from thresholds.commands.kinds import kinds_app
from thresholds.kinds.table import KINDS

RUN = CliRunner()


def test_the_list_explains_every_kind() -> None:
    """For people on standard error and for tools on standard output."""
    told = RUN.invoke(kinds_app, ["list"])
    assert (told.exit_code, told.stdout) == (0, "")
    document = json.loads(RUN.invoke(kinds_app, ["list", "--json"]).stdout)
    assert [each["kind"] for each in document] == [kind.name for kind in KINDS]
    for each in document:
        assert each["kind"] in told.stderr
        assert each["what"]
        assert each["expect"]
    assert "English" in told.stderr


def test_what_was_made_is_counted(posts: Path, tmp_path: Path) -> None:
    """Each pair is made, not made for a reason that is told, or not tried; the file agrees."""
    out = tmp_path / "made"
    result = RUN.invoke(kinds_app, ["make", str(posts), "--out", str(out), "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["file"], document["pairs"]) == (str(out / "pairs.jsonl"), 8)
    names = [line["kind"] for line in read_lines(out / "pairs.jsonl")]
    for each in document["kinds"]:
        assert each["made"] == names.count(each["kind"])
        assert each["made"] + sum(each["not_made"].values()) + each["not_tried"] == 8
    assert (document["refused"], document["left_out"]) == ([], {"mismatches": 0, "repeated": 0})


def test_people_see_a_table(posts: Path, tmp_path: Path) -> None:
    """Kinds, counts and reasons on standard error, and nothing for tools."""
    out = tmp_path / "some.jsonl"
    result = RUN.invoke(
        kinds_app, ["make", str(posts), "--out", str(out), "--kinds", "own, entity"]
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no name that is known" in " ".join(result.stderr.split())
    assert "9 cases of 8 pairs" in " ".join(result.stderr.split())
    assert {line["kind"] for line in read_lines(out)} == {"own", "entity"}


def test_some_refused_lines_are_told_and_the_rest_is_done(posts: Path, tmp_path: Path) -> None:
    """Exit status 3, with the reason for each."""
    with posts.open("a") as lines:
        lines.write('{"image": "gone.jpg", "caption": "a dog"}\n')
    for more in ([], ["--json"]):
        out = tmp_path / f"made{len(more)}"
        result = RUN.invoke(kinds_app, ["make", str(posts), "--out", str(out), *more])
        assert result.exit_code == 3
        assert "gone.jpg" in result.output
        assert len(read_lines(out / "pairs.jsonl")) > 8
    (refused,) = json.loads(result.stdout)["refused"]
    assert refused["line"] == 9


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ("own,nonsense", "nonsense"),
        (",", "none named"),
        ("own,empty", "file of their own"),
    ],
)
def test_kinds_that_cannot_be_made_are_wrong_usage(
    posts: Path, tmp_path: Path, kinds: str, told: str
) -> None:
    """Exit status 2, and nothing is written."""
    out = tmp_path / "made"
    result = RUN.invoke(kinds_app, ["make", str(posts), "--out", str(out), "--kinds", kinds])
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("lines", "kinds", "told"),
    [
        ([], "own", "no matched pair"),
        (["no JSON"], "own", "line 1"),
        ([{"image": "images/cat.jpg", "caption": "a cat"}], "entity", "no rule applies"),
    ],
)
def test_where_nothing_can_be_made_nothing_is_written(
    posts: Path, tmp_path: Path, lines: list[object], kinds: str, told: str
) -> None:
    """The command fails and says why."""
    write_lines(posts, *lines)
    out = tmp_path / "made"
    result = RUN.invoke(kinds_app, ["make", str(posts), "--out", str(out), "--kinds", kinds])
    assert isinstance(result.exception, InputRefused)
    assert told in str(result.exception)
    assert not out.exists()


def test_what_is_there_is_not_overwritten(posts: Path, tmp_path: Path) -> None:
    """A second run into the same folder is refused."""
    arguments = ["make", str(posts), "--out", str(tmp_path / "made"), "--kinds", "own"]
    assert RUN.invoke(kinds_app, arguments).exit_code == 0
    before = (tmp_path / "made" / "pairs.jsonl").read_bytes()
    again = RUN.invoke(kinds_app, [*arguments, "--seed", "1"])
    assert "exists already" in str(again.exception)
    assert (tmp_path / "made" / "pairs.jsonl").read_bytes() == before


def test_no_model_is_loaded(posts: Path, tmp_path: Path) -> None:
    """Making cases needs words and pictures only: PyTorch would cost seconds and gigabytes."""
    script = (
        "import sys\nfrom thresholds.commands.kinds import kinds_app\n"
        f"kinds_app(['make', {str(posts)!r}, '--out', {str(tmp_path / 'made')!r}, '--json'],"
        " standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert (tmp_path / "made" / "pairs.jsonl").exists()
