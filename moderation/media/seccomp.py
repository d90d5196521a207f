"""Composes seccomp filters: which system calls a locked process may make.

What a filter does not name fails with EPERM, and a call of another architecture kills.
"""

import ctypes
import platform
import struct
from collections.abc import Mapping
from typing import NamedTuple

AUDIT_ARCHES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # and column of numbers
_SECCOMP_CALL = (317, 277)

# <linux/prctl.h>, <linux/seccomp.h>
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SET_MODE_FILTER = 1
_EVERY_THREAD = 1  # SECCOMP_FILTER_FLAG_TSYNC

# <linux/bpf_common.h>, <linux/seccomp.h>
_LOAD_WORD = 0x20
_JUMP_IF_EQUAL = 0x15
_JUMP_IF_BITS = 0x45
_RETURN = 0x06
_OFFSET_OF_CALL, _OFFSET_OF_ARCH, _OFFSET_OF_ARGUMENTS, _ARGUMENT_BYTES = 0, 4, 16, 8
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_FAIL_WITH = 0x00050000
_EPERM, _ENOSYS = 1, 38

Numbers = tuple[int, int]  # on x86_64 and on aarch64


class Limited(NamedTuple):
    """A call that is allowed only if an argument has one of these bits, or has none of them."""

    numbers: Numbers
    argument: int
    bits: int
    must_have: bool


class CallFilter(NamedTuple):
    """Calls that are allowed, that are allowed with some arguments, and that seem not to exist."""

    allowed: Mapping[str, Numbers]
    limited: Mapping[str, Limited] = {}
    missing: Mapping[str, Numbers] = {}


def deny_other_calls(libc: ctypes.CDLL, calls: CallFilter, *, every_thread: bool = False) -> bool:
    """Install a filter for good; False where kernel or container do not let us.

    With `every_thread` it holds for all threads that run, else for this one and those it starts.
    """
    if platform.machine() not in AUDIT_ARCHES:
        return False
    arch, column = AUDIT_ARCHES[platform.machine()]
    steps = _steps(calls, arch, column)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    if every_thread:
        number = _SECCOMP_CALL[column]
        return bool(libc.syscall(number, _SET_MODE_FILTER, _EVERY_THREAD, program) == 0)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0)


def _steps(calls: CallFilter, arch: int, column: int) -> list[tuple[int, int, int, int]]:
    """Instructions: their code, what to skip if it is so and if it is not, and their operand."""
    numbers = [call[column] for call in calls.allowed.values()]
    special = [
        step for limit in calls.limited.values() for step in _limit(limit, limit.numbers[column])
    ]
    for call in calls.missing.values():
        special += [(_JUMP_IF_EQUAL, 0, 1, call[column]), (_RETURN, 0, 0, _FAIL_WITH | _ENOSYS)]
    return [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_CALL),
        # A match jumps over the comparisons that are left and over the refusal.
        *(
            (_JUMP_IF_EQUAL, len(numbers) - i + len(special), 0, number)
            for i, number in enumerate(numbers)
        ),
        *special,
        (_RETURN, 0, 0, _FAIL_WITH | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _limit(limit: Limited, number: int) -> list[tuple[int, int, int, int]]:
    # Flags lie in the lower half of an argument, which comes first on these machines.
    at = _OFFSET_OF_ARGUMENTS + limit.argument * _ARGUMENT_BYTES
    refused, allowed = (_RETURN, 0, 0, _FAIL_WITH | _EPERM), (_RETURN, 0, 0, _ALLOW)
    return [
        (_JUMP_IF_EQUAL, 0, 4, number),
        (_LOAD_WORD, 0, 0, at),
        (_JUMP_IF_BITS, 0, 1, limit.bits),
        *((allowed, refused) if limit.must_have else (refused, allowed)),
    ]
