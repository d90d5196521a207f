"""Locks the process of an image decoder in, before it sees the first untrusted byte.

What the kernel offers is used, and what it does not is said in the `SandboxReport`, which
`captionguard doctor` prints. The layers do not lean on each other:

- limits: memory, no file writing, no core dumps, few open files;
- user: a child of root becomes `nobody`, who owns nothing and can signal nobody;
- files: Landlock denies opening any path and any TCP connection;
- system calls: seccomp allows computing, memory, the socket to the parent and reading what it
  hands over; no call that opens, connects, starts or signals anything.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from typing import NamedTuple

from moderation.media.wire import MAX_IMAGES

_NOBODY = 65534
# Its own few, and the images of a turn.
_MAX_OPEN_FILES = 8 + MAX_IMAGES

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

# <linux/landlock.h>; system calls from 424 on have one number on all architectures
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_ABI_VERSION_FLAG = 1
_LANDLOCK_FS_RIGHTS = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))  # since ABI: bits
_LANDLOCK_NET_RIGHTS = 0b11  # bind and connect TCP, since ABI 4
_LANDLOCK_SCOPES = 0b11  # abstract sockets and signals stay inside, since ABI 6

# What a decoder needs once all is loaded: the numbers on x86_64 and on aarch64.
_ALLOWED_CALLS = {
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
_AUDIT_ARCHES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # and column above

# <linux/bpf_common.h>, <linux/seccomp.h>
_LOAD_WORD = 0x20
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_OFFSET_OF_CALL, _OFFSET_OF_ARCH = 0, 4
_ALLOW, _KILL, _FAIL_WITH_EPERM = 0x7FFF0000, 0x80000000, 0x00050001


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
    no_new_privileges = linux and _forbid_new_privileges(libc)
    landlock = no_new_privileges and _deny_files(libc)
    user = _become_nobody()
    if linux:
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody else's `nobody` may trace this process
    limits = _set_limits(memory_bytes)
    seccomp = no_new_privileges and _deny_calls(libc)
    return SandboxReport(
        limits=limits,
        no_new_privileges=no_new_privileges,
        unprivileged_user=user,
        landlock=landlock,
        seccomp=seccomp,
    )


def _set_limits(memory_bytes: int) -> bool:
    wanted = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    )
    try:
        for limit, value in wanted:
            resource.setrlimit(limit, (value, value))
    except (OSError, ValueError):
        return False
    return True


def _become_nobody() -> bool:
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except OSError:
        return False
    return True


def _forbid_new_privileges(libc: ctypes.CDLL) -> bool:
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _deny_files(libc: ctypes.CDLL) -> bool:
    """Enter a Landlock domain without a single rule: every path is denied."""
    abi = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_ABI_VERSION_FLAG)
    if abi < 1:
        return False
    rights = sum(bits for since, bits in _LANDLOCK_FS_RIGHTS if abi >= since)
    ruleset = struct.pack("=Q", rights)
    if abi >= 4:
        ruleset += struct.pack("=Q", _LANDLOCK_NET_RIGHTS)
    if abi >= 6:
        ruleset += struct.pack("=Q", _LANDLOCK_SCOPES)
    descriptor = libc.syscall(
        _LANDLOCK_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint32(0)
    )
    if descriptor < 0:
        return False
    try:
        return bool(libc.syscall(_LANDLOCK_RESTRICT_SELF, descriptor, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(descriptor)


def _deny_calls(libc: ctypes.CDLL) -> bool:
    """Install a seccomp filter: what is not in `_ALLOWED_CALLS` fails with EPERM."""
    if platform.machine() not in _AUDIT_ARCHES:
        return False
    arch, column = _AUDIT_ARCHES[platform.machine()]
    numbers = [call[column] for call in _ALLOWED_CALLS.values()]
    steps = [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_CALL),
        # A match jumps over the comparisons that are left and over the refusal.
        *((_JUMP_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
        (_RETURN, 0, 0, _FAIL_WITH_EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0)
