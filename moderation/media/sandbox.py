"""Locks the process of an image decoder in, before it sees the first untrusted byte.

What the kernel offers is used, and what it does not is said in the `SandboxReport`, which
`captionguard doctor` prints. The layers do not lean on each other:

- limits: memory, no file writing, no core dumps, few open files;
- user: a child of root becomes `nobody`, who owns nothing and can signal nobody;
- files: Landlock denies opening any path and any TCP connection;
- system calls: seccomp allows computing, memory, the socket to the parent and reading what it
  hands over; no call that opens, connects, starts or signals anything.

`gpu_sandbox` is for decoders that use a GPU, whose driver needs more.
"""

import ctypes
import os
import resource
import sys
from typing import NamedTuple

from moderation.media.landlock import deny_other_files
from moderation.media.seccomp import CallFilter, deny_other_calls
from moderation.media.wire import MAX_IMAGES

_NOBODY = 65534
# Its own few, and the images of a turn.
_MAX_OPEN_FILES = 8 + MAX_IMAGES

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

# What a decoder needs once all is loaded: the numbers on x86_64 and on aarch64.
ALLOWED_CALLS = {
    "read": (0, 63),
    "pread64": (17, 67),
    "recvmsg": (47, 212),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "setitimer": (38, 103),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "sched_yield": (24, 124),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


class SandboxReport(NamedTuple):
    """Which protections a decoder process has on this machine."""

    limits: bool
    no_new_privileges: bool
    unprivileged_user: bool
    landlock: bool
    seccomp: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of protections that are not active here."""
        return tuple(name for name, active in self._asdict().items() if not active)


def lock_down(memory_bytes: int) -> SandboxReport:
    """Give up all rights this process can give up, for good.

    Call it with everything imported and one thread running. Never raises: a layer that the
    kernel or a container's own profile denies is reported as missing.
    """
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges = linux and forbid_new_privileges(libc)
    landlock = no_new_privileges and deny_other_files(libc)
    user = become_nobody()
    if linux:
        be_untraceable(libc)
    limits = set_limits(memory_bytes, _MAX_OPEN_FILES)
    seccomp = no_new_privileges and deny_other_calls(libc, CallFilter(ALLOWED_CALLS))
    return SandboxReport(
        limits=limits,
        no_new_privileges=no_new_privileges,
        unprivileged_user=user,
        landlock=landlock,
        seccomp=seccomp,
    )


def set_limits(memory_bytes: int | None, open_files: int) -> bool:
    """Limit address space, if told, and open files; nothing is written to files, nor dumped."""
    wanted = [
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, open_files),
    ]
    if memory_bytes is not None:
        wanted.append((resource.RLIMIT_AS, memory_bytes))
    try:
        for limit, value in wanted:
            resource.setrlimit(limit, (value, value))
    except (OSError, ValueError):
        return False
    return True


def become_nobody() -> bool:
    """Drop root, in every thread."""
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except OSError:
        return False
    return True


def be_untraceable(libc: ctypes.CDLL) -> None:
    """Keep everybody else's `nobody` from tracing this process."""
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def forbid_new_privileges(libc: ctypes.CDLL) -> bool:
    """Make set-uid programs useless; Landlock and seccomp want it."""
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
