"""Log lines never stop the work they tell of."""

import json
import os
import re
import subprocess
import sys
from uuid import UUID

import pytest

CODE = """
import structlog
from moderation.logs import configure_logging
configure_logging("json")
structlog.get_logger().error("message_failed", why="x")
print("went on")
"""


def test_a_full_disk_stops_nobody() -> None:
    """Where a line cannot be written the line is lost, and what it told of goes on."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )
    assert done.stdout == "went on\n"


EACH = """
import sys
import structlog
from moderation.logs import configure_logging, info_each
configure_logging(sys.argv[1])
documents = [
    {"id": "1", "score": 0.5, "notes": ("a",)},
    {"id": "\\ud800", "score": None, "notes": ()},
]
if sys.argv[2] == "together":
    info_each("submission", documents)
else:
    for document in documents:
        structlog.get_logger().info("submission", **document)
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_lines_written_together_are_as_each_by_itself(log_format: str) -> None:
    """But for their times, also where a text is none that UTF-8 can write."""

    def lines(way: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", EACH, log_format, way],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr.splitlines()

    together, alone = lines("together"), lines("alone")
    assert len(together) == len(alone) == 2
    assert all("submission" in line for line in together)
    if log_format == "json":
        for one, other in zip(together, alone, strict=True):
            ours, theirs = json.loads(one), json.loads(other)
            assert ours.pop("timestamp")[:10] == theirs.pop("timestamp")[:10]
            assert list(ours.items()) == list(theirs.items())


MANY = """
from moderation.logs import configure_logging, info_each
configure_logging("json")
for _ in range(20):
    info_each("submission", [{"id": n, "detail": "x" * 300} for n in range(512)])
"""


def test_workers_that_share_a_pipe_write_into_no_line_of_each_other() -> None:
    """Each line that a slow reader gets is a whole one, and none is missing."""
    reading, writing = os.pipe()
    workers = [subprocess.Popen([sys.executable, "-c", MANY], stderr=writing) for _ in range(2)]
    os.close(writing)
    with open(reading) as lines:
        ids = sorted(json.loads(line)["id"] for line in lines)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert ids == sorted([*range(512)] * 40)


PIECES = """
from moderation.logs import configure_logging, info_each
configure_logging("json")
for size in range(60, 90):
    info_each("submission", [{"id": n, "detail": "xé犬😀"[n % 4] * size} for n in range(99)])
"""


def test_lines_are_written_in_pieces_that_a_pipe_takes_whole() -> None:
    """Many in each, of whole lines, however many bytes their signs have."""
    # A pipe of packets hands out one write after the other, and cuts what it does not take whole.
    reading, writing = os.pipe2(os.O_DIRECT)
    with subprocess.Popen([sys.executable, "-c", PIECES], stderr=writing) as worker:
        os.close(writing)
        pieces = []
        while piece := os.read(reading, 2**16):
            pieces.append(piece)
    os.close(reading)
    assert worker.returncode == 0
    assert all(piece.endswith(b"\n") for piece in pieces)
    lines = b"".join(pieces).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [*range(99)] * 30
    assert len(pieces) < len(lines) / 5


IDS = """
import sys
from uuid import UUID
from moderation.logs import configure_logging, info_each
configure_logging(sys.argv[1])
info_each("submission", [{"id": UUID(int=7), "detail": detail} for detail in ("a", "\\ud800")])
info_each("submission", [{"id": UUID(int=7), "count": 2**70}])
"""


@pytest.mark.parametrize(
    ("log_format", "written"), [("json", '"id":"{}"'), ("console", "id={}")], ids=str
)
def test_ids_are_written_as_people_search_for_them(log_format: str, written: str) -> None:
    """Beside whatever else the line tells."""
    done = subprocess.run(
        [sys.executable, "-c", IDS, log_format], capture_output=True, text=True, check=True
    )
    plain = re.sub(r"\x1b\[\d+m", "", done.stderr).replace('": "', '":"')
    assert plain.count(written.format(UUID(int=7))) == 3
    assert str(2**70) in plain
