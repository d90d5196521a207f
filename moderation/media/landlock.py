"""Landlock: which files a locked process may open, and that it may open no TCP connection."""

import ctypes
import os
import struct
from collections.abc import Mapping

# <linux/landlock.h>; system calls from 424 on have one number on all architectures
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_ABI_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EVERY_THREAD, _EVERY_THREAD_ABI = 1 << 3, 8
_FS_RIGHTS = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))  # since ABI: bits
_NET_RIGHTS = 0b11  # bind and connect TCP, since ABI 4
_SCOPES = 0b11  # abstract sockets and signals stay inside, since ABI 6

WRITE_FILE, READ_FILE, READ_FOLDER, CONTROL_DEVICE = 1 << 1, 1 << 2, 1 << 3, 1 << 15
REMOVE_FOLDER = 1 << 4
# Remove, make and empty plain files, folders and links.
CHANGE_FOLDER = REMOVE_FOLDER | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 14


def deny_other_files(
    libc: ctypes.CDLL, open_to: Mapping[str, int] | None = None, *, every_thread: bool = False
) -> bool:
    """Enter a domain where only these paths, and what lies below, can be opened: none unless told.

    It holds for this thread and what it starts, not for threads that run already: with
    `every_thread`, for these as well where the kernel can (Linux 7.0). False where it cannot be
    entered. What is open stays so; domains add up.
    """
    abi = libc.syscall(_CREATE_RULESET, None, 0, _ABI_VERSION_FLAG)
    if abi < 1:
        return False
    rights = sum(bits for since, bits in _FS_RIGHTS if abi >= since)
    ruleset = struct.pack("=Q", rights)
    if abi >= 4:
        ruleset += struct.pack("=Q", _NET_RIGHTS)
    if abi >= 6:
        ruleset += struct.pack("=Q", _SCOPES)
    descriptor = libc.syscall(
        _CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint32(0)
    )
    if descriptor < 0:
        return False
    try:
        for path, wanted in (open_to or {}).items():
            _open(libc, descriptor, path, wanted & rights)
        if every_thread and abi >= _EVERY_THREAD_ABI and _enter(libc, descriptor, _EVERY_THREAD):
            return True
        return _enter(libc, descriptor, 0)
    finally:
        os.close(descriptor)


def _open(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Add a rule; a path that is not there needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= ~(READ_FOLDER | REMOVE_FOLDER)  # the kernel refuses what makes no sense
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _enter(libc: ctypes.CDLL, ruleset: int, flags: int) -> bool:
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(flags)) == 0)
