"""A report is written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from moderation.errors import InputRefused
from thresholds.report.writing import open_whole


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """While it is written the old one is there, afterwards the new one, and nothing else."""
    path = tmp_path / "report.html"
    path.write_text("old")
    with open_whole(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_fault_leaves_what_was_there(tmp_path: Path) -> None:
    """An error inside changes nothing and leaves nothing behind."""
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_whole(path) as file:
        file.write(str(1 / 0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/report.html", "", "/dev/null", "file/report.html"])
def test_what_cannot_be_written_is_refused_before_anything_is_done(
    tmp_path: Path, name: str
) -> None:
    """A missing folder, a folder and a device are named; the body does not run."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused, match="--out"), open_whole(tmp_path / name):
        pytest.fail("it was opened")
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What a link points to is written, not the link."""
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)
    with open_whole(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
