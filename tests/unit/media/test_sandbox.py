"""The lock: what a decoder that has been taken over can still do."""

import json
import subprocess
import sys

import pytest

from moderation.media.sandbox import SandboxReport

# Each line tries what an intruder would; it runs locked in, with standard output left open.
ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "list a folder": "os.listdir('/')",
    "write a file": "open('/tmp/captionguard-sandbox', 'w').write('x')",
    "open a socket": "socket.socket().connect(('127.0.0.1', 9))",
    "open a local socket": "socket.socket(socket.AF_UNIX).connect('/nowhere')",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork() or os._exit(0)",
    "start a thread": "threading.Thread(target=int).start()",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "make a pipe": "os.pipe()",
    "grow without limit": "bytearray(2**40)",
}
SCRIPT = """
import json, os, socket, sys, threading
from moderation.media.sandbox import lock_down
report = lock_down(2**30)
try:
    ATTEMPT
except BaseException as error:
    outcome = type(error).__name__
else:
    outcome = "done"
os.write(1, json.dumps({"report": report._asdict(), "outcome": outcome}).encode())
os._exit(0)
"""


def _attempt(code: str) -> tuple[SandboxReport, str]:
    script = SCRIPT.replace("ATTEMPT", code)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=120
    )
    answer = json.loads(ended.stdout)
    return SandboxReport(**answer["report"]), answer["outcome"]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_locked_process_cannot(name: str) -> None:
    """Locked in, a process reaches no file, no network, no other process and little memory."""
    report, outcome = _attempt(ATTEMPTS[name])
    if not report.seccomp:
        pytest.skip("this kernel or container has no seccomp filters")
    assert outcome in ("PermissionError", "RuntimeError", "MemoryError")


def test_files_are_out_of_reach_without_seccomp() -> None:
    """The layers do not lean on each other: Landlock alone keeps files shut."""
    code = (
        "open('/etc/passwd').read()\n"
        "except PermissionError as error: outcome = 'shut'\n"
        "else: outcome = 'open'\n"
        "try: raise LookupError(outcome)"
    )
    script = (
        SCRIPT.replace("ATTEMPT", code)
        .replace(
            "report = ",
            "from moderation.media import seccomp\nseccomp.AUDIT_ARCHES.clear()\nreport = ",
        )
        .replace("type(error).__name__", "str(error)")
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=120
    )
    answer = json.loads(ended.stdout)
    if not answer["report"]["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert answer["report"]["seccomp"] is False
    assert answer["outcome"] == "shut"


def test_missing_layers_are_named() -> None:
    """The report's list of what is missing is what `doctor` prints."""
    assert SandboxReport(True, True, True, True, True).missing == ()
    assert SandboxReport(True, True, True, False, False).missing == ("landlock", "seccomp")
