"""What a worker process takes for itself before it begins."""

import resource
import subprocess
import sys

_SCRIPT = """
import resource
from workers.runtime import allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_worker_may_open_as_many_files_as_the_hard_limit_allows() -> None:
    """The usual soft limit of 1,024 is too low for the decoders of a machine of many cores."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    soft, hard = map(int, done.stdout.split())
    assert hard == resource.getrlimit(resource.RLIMIT_NOFILE)[1], "the hard limit stays"
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))
