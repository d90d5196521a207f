"""Locks the process of a GPU decoder in, as far as a process that uses CUDA can be.

CUDA's address space is larger than any limit that would help, its driver is spoken to by
`ioctl`, opens its devices again when it needs memory, and has threads before we are done
loading. So there are two steps, and less is held than for `sandbox`'s decoders:

- `early_domain`, before anything is loaded: Landlock lets this process, and every thread that it
  will have, read files, write to NVIDIA's devices and to a folder of its own that is gone
  afterwards, start no program, open no TCP connection and look into no other process;
- `lock_down_for_gpu`, when all is loaded and warm, before the first untrusted byte: no more
  files than before can be written to, none may grow, few may be open; a child of root becomes
  `nobody`; seccomp, in every thread, refuses sockets, starting programs or processes, signals,
  tracing, and making files; Landlock lets this thread open the devices and what the kernel tells
  of processes and machine, and nothing else. From Linux 7.0 on it does so for all threads.

What this does not hold: whoever takes this process over can speak to the driver, whose calls
are many and run in the kernel, and take the GPU's time and memory, which the model needs. Before
Linux 7.0, by way of one of CUDA's threads, he can read files that its user may read; what he
reads can go nowhere but into an image's pixels. The process is not replaced after so many images.
Without Landlock, opening files is refused altogether, which CUDA may or may not bear.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from moderation.media.landlock import (
    CHANGE_FOLDER,
    CONTROL_DEVICE,
    READ_FILE,
    READ_FOLDER,
    REMOVE_FOLDER,
    WRITE_FILE,
    deny_other_files,
)
from moderation.media.sandbox import (
    ALLOWED_CALLS,
    SandboxReport,
    be_untraceable,
    become_nobody,
    forbid_new_privileges,
    set_limits,
)
from moderation.media.seccomp import CallFilter, Limited, Numbers, deny_other_calls

# The driver opens its devices again for new memory; how often, only it knows.
_SPARE_FILES = 512
_READ = READ_FILE | READ_FOLDER
_USE = READ_FILE | WRITE_FILE | CONTROL_DEVICE
# What the driver asks while it works, of which nothing is anybody's secret.
_KERNEL_FILES = ("/proc", "/sys/devices/system")
# Where NVIDIA's MPS, if it runs, is spoken to.
_MPS_FOLDER = "/tmp/nvidia-mps"  # noqa: S108 - it is NVIDIA's choice

_MORE_CALLS: dict[str, Numbers] = {
    "ioctl": (16, 29),
    "poll": (7, 73),  # aarch64 has ppoll alone
    "ppoll": (271, 73),
    "fcntl": (72, 25),
    "eventfd2": (290, 19),
    "readlinkat": (267, 78),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "faccessat": (269, 48),
    "getdents64": (217, 61),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getcpu": (309, 168),
    "sched_getaffinity": (204, 123),
    "mbind": (237, 235),
    "get_mempolicy": (239, 236),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
}
# <fcntl.h>: make, empty, or make without a name.
_MAKES_FILE = 0o100 | 0o1000 | 0o20000000
_OPEN = {"openat": Limited((257, 56), argument=2, bits=_MAKES_FILE, must_have=False)}
# <sched.h>: a thread has this filter too, a process would be one more to watch.
_CLONE_THREAD = 0x10000
_START_THREAD = {"clone": Limited((56, 220), argument=0, bits=_CLONE_THREAD, must_have=True)}
# Its flags lie in memory, where no filter sees them; without it libraries take `clone`.
_MISSING: dict[str, Numbers] = {"clone3": (435, 435)}


@contextlib.contextmanager
def early_domain() -> Iterator[bool]:
    """Enter the domain that every thread to come inherits, and load in it; for good.

    Call it before any thread is started. False where there is no Landlock. Libraries want a
    folder to write to while they load: it is removed at the end.
    """
    folder = tempfile.mkdtemp(prefix="captionguard-")
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = folder
    try:
        yield _enter_early(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _enter_early(folder: str) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    rules = {"/": _READ, "/proc/self": _READ | WRITE_FILE, "/dev/null": READ_FILE | WRITE_FILE}
    mps = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", _MPS_FOLDER)
    rules[mps] = _READ | WRITE_FILE
    rules[folder] = CHANGE_FOLDER | _READ | WRITE_FILE
    rules[os.path.dirname(folder)] = REMOVE_FOLDER
    # CUDA names its threads by way of /proc, and does not start where it cannot.
    return forbid_new_privileges(libc) and deny_other_files(libc, rules | _devices())


def lock_down_for_gpu(places: int, *, is_early: bool) -> SandboxReport:
    """Give up what is left to give up; `is_early` is what `early_domain` gave.

    Never raises; what cannot be had is reported as missing.
    """
    open_files = _open_files()  # out of sight for `nobody`
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges = forbid_new_privileges(libc)
    rules = {**dict.fromkeys(_KERNEL_FILES, _READ), **_devices()}
    landlock = is_early and deny_other_files(libc, rules, every_thread=True)
    user = become_nobody()
    be_untraceable(libc)
    limits = set_limits(None, open_files + places + _SPARE_FILES)
    # Seccomp sees no paths: without Landlock behind it, nothing may be opened.
    calls = CallFilter(
        {**ALLOWED_CALLS, **_MORE_CALLS},
        {**(_OPEN if landlock else {}), **_START_THREAD},
        _MISSING,
    )
    return SandboxReport(
        limits=limits,
        no_new_privileges=no_new_privileges,
        unprivileged_user=user,
        landlock=landlock,
        seccomp=deny_other_calls(libc, calls, every_thread=True),
    )


def _devices() -> dict[str, int]:
    return {str(path): _USE for path in Path("/dev").glob("nvidia*") if not path.is_dir()}


def _open_files() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd")) + 1
