"""Log lines never stop the work they tell of."""

import subprocess
import sys

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
