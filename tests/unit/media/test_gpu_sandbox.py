"""The lock of a GPU decoder: what one that has been taken over cannot do, in any of its threads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# What an intruder would try, with a file that anybody may write to.
ATTEMPTS = {
    "write a file": "open(PATH, 'w').write('x')",
    "write into a file": "os.close(os.open(PATH, os.O_RDWR))",
    "make a file": "open(PATH + '-new', 'x')",
    "make a folder": "os.mkdir(PATH + '-folder')",
    "remove a file": "os.unlink(PATH)",
    "open a socket": "socket.socket()",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork() or os._exit(0)",
    "signal the parent": "os.kill(PARENT, 0)",
    "signal itself": "os.kill(os.getpid(), 0)",
    "look into the parent": "open(f'/proc/{PARENT}/environ').read()",
    "trace the parent": "checked(libc.ptrace(16, PARENT, 0, 0))",
    "be root again": "os.setuid(0)",
    "make memory a file": "os.memfd_create('x')",
}
# What only Linux 7.0 keeps CUDA's own threads from, and everything else today.
READING = {
    "read a file": "open('/etc/passwd').read()",
    "list a folder": "os.listdir('/')",
}
SCRIPT = """
import ctypes, json, os, socket, sys, threading
from moderation.media.gpu_sandbox import early_domain, lock_down_for_gpu
PATH, PARENT = sys.argv[1], os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
outcome = "nothing"
def checked(status):
    if status:
        raise OSError(ctypes.get_errno(), "refused")
def attempt():
    global outcome
    try:
        ATTEMPT
    except BaseException as error:
        outcome = type(error).__name__
    else:
        outcome = "done"
ready = threading.Event()
def later():
    ready.wait()
    attempt()
with early_domain() as is_early:
    old = threading.Thread(target=later)
    old.start()
report = lock_down_for_gpu(64, is_early=is_early)
if sys.argv[2] == "this thread":
    attempt()
elif sys.argv[2] == "a thread from before":
    ready.set()
    old.join()
else:
    new = threading.Thread(target=attempt)
    new.start()
    new.join()
os.write(1, json.dumps({"missing": report.missing, "outcome": outcome}).encode())
os._exit(0)
"""
THREADS = ("this thread", "a thread from before", "a thread from after")


def _attempt(code: str, thread: str, path: Path) -> tuple[list[str], str]:
    path.write_text("as it was")
    path.chmod(0o666)
    script = SCRIPT.replace("ATTEMPT", code)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path), thread],
        capture_output=True,
        check=True,
        timeout=120,
    )
    answer = json.loads(ended.stdout)
    return answer["missing"], answer["outcome"]


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_thread_of_a_locked_process_can(name: str, thread: str, tmp_path: Path) -> None:
    """Locked in, no thread changes a file, reaches a network or another process, or starts one."""
    missing, outcome = _attempt(ATTEMPTS[name], thread, tmp_path / "file")
    if "seccomp" in missing:
        pytest.skip("this kernel or container has no seccomp filters")
    assert outcome in ("PermissionError", "OSError")
    assert (tmp_path / "file").read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("thread", ["this thread", "a thread from after"])
@pytest.mark.parametrize("name", READING)
def test_files_are_out_of_reach(name: str, thread: str, tmp_path: Path) -> None:
    """The thread that reads images, and what it starts, open nothing of ours."""
    missing, outcome = _attempt(READING[name], thread, tmp_path / "file")
    if "landlock" in missing and "seccomp" in missing:
        pytest.skip("this kernel has neither Landlock nor seccomp filters")
    assert outcome == "PermissionError"


def test_without_landlock_nothing_is_opened(tmp_path: Path) -> None:
    """Seccomp sees no paths: where nothing else does, no file is opened, in no thread."""
    code = "os.open('/proc/self/maps', os.O_RDONLY)"
    script = SCRIPT.replace("as is_early", "").replace("is_early=is_early", "is_early=False")
    ended = subprocess.run(
        [sys.executable, "-c", script.replace("ATTEMPT", code), str(tmp_path), THREADS[0]],
        capture_output=True,
        check=True,
        timeout=120,
    )
    answer = json.loads(ended.stdout)
    if "seccomp" in answer["missing"]:
        pytest.skip("this kernel or container has no seccomp filters")
    assert "landlock" in answer["missing"]
    assert answer["outcome"] == "PermissionError"


def test_what_the_driver_needs_is_left(tmp_path: Path) -> None:
    """What the kernel tells of the process, and threads, are there: CUDA asks for both."""
    code = "open('/proc/self/status').read(); libc.syscall(16, -1, 0, 0)"
    _, outcome = _attempt(code, "a thread from after", tmp_path / "file")
    assert outcome == "done"


def test_the_folder_for_loading_is_gone(tmp_path: Path) -> None:
    """What libraries wrote while they loaded is not left behind."""
    code = (
        "import sys, os, tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "from moderation.media.gpu_sandbox import early_domain\n"
        "with early_domain():\n"
        "    folder = os.environ['TMPDIR']\n"
        "    os.makedirs(folder + '/a/b')\n"
        "    open(folder + '/a/b/c', 'w').write('x')\n"
        "assert folder.startswith(sys.argv[1]), folder\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []
