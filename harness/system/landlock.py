"""Restrict this process with Landlock, a security module of Linux that needs no privileges.

Source: the kernel's documentation, https://docs.kernel.org/userspace-api/landlock.html, and `linux/landlock.h`.

Landlock restricts the calling thread and all threads and processes that it starts. Its restrictions cannot be lifted.
The version of its interface (ABI) decides what it can restrict:

* files, and the memory, environment and open files of processes outside of the sandbox: all versions
* TCP ports: version 4 and later
* abstract Unix sockets, and signals to other processes: version 6 and later
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import sys
from collections.abc import Iterable

from harness.contract.sandbox import SandboxRequest

#: The newest version of the interface that this module uses, also on kernels that offer a newer one.
NEWEST_ABI = 7
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all architectures of Linux
_GET_VERSION = 1  # flag of _CREATE_RULESET
_PATH_BENEATH = 1  # type of a rule
_PR_SET_NO_NEW_PRIVS = 38

# Rights to files and folders. Three of them are new in later versions of the interface: REFER (bit 13) in version 2,
# TRUNCATE (bit 14) in version 3, and IOCTL_DEV (bit 15) in version 5.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
# All rights, by version of the interface. A version that is not listed has the rights of the version before it.
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
#: The rights that a rule for a file may contain. The kernel refuses all others.
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
# The first version that knows these rights, and the rights.
_TCP_FROM_ABI, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_FROM_ABI, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11


class _RulesetAttributes(ctypes.Structure):
    """`struct landlock_ruleset_attr`: what a Landlock ruleset forbids unless one of its rules allows it."""

    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathAttributes(ctypes.Structure):
    """`struct landlock_path_beneath_attr`: the rights to a file, or to a folder and everything in it."""

    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


def supported_abi() -> int:
    """Return the version of Landlock that this process can use, at most `NEWEST_ABI`; 0 if it cannot use Landlock."""
    if sys.platform != "linux":
        return 0
    version = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION)
    return max(0, min(int(version), NEWEST_ABI))


def restrict(request: SandboxRequest, *, tcp: bool) -> None:
    """Forbid everything that a request does not permit. The version of the interface is `request.offer.landlock`.

    Paths that do not exist are ignored. A path is looked up once: a file that replaces it later is forbidden.

    Args:
        request: what is permitted.
        tcp: whether TCP connections stay possible.

    Raises:
        OSError: the kernel refuses.
    """
    abi = request.offer.landlock
    everything = _ALL_RIGHTS[max(version for version in _ALL_RIGHTS if version <= abi)]
    attributes = _RulesetAttributes(
        files=everything,
        network=0 if tcp or abi < _TCP_FROM_ABI else _BIND_AND_CONNECT,
        scoped=_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= _SCOPES_FROM_ABI else 0,
    )
    # An older kernel knows a shorter structure, and refuses a longer one whose new fields are not zero.
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    try:
        _allow(ruleset, request.listable, _READ_DIR)
        _allow(ruleset, request.readable, _EXECUTE | _READ_FILE | _READ_DIR)
        _allow(ruleset, request.usable, (_READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & everything)
        _allow(ruleset, request.writable, everything)
        forbid_new_privileges()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def forbid_new_privileges() -> None:
    """Prevent programs that this process executes from gaining privileges, as `sudo` would.

    Raises:
        OSError: the kernel refuses.
    """
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _last_error()


def _allow(ruleset: int, paths: Iterable[str], rights: int) -> None:
    """Add a rule for every path that exists."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            allowed = rights if stat.S_ISDIR(os.fstat(descriptor).st_mode) else rights & _FILE_RIGHTS
            if allowed:
                attributes = _PathAttributes(rights=allowed, descriptor=descriptor)
                _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(attributes), 0)
        finally:
            os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    """Make a system call and return its result.

    Raises:
        OSError: the call failed.
    """
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        raise _last_error()
    return result


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"Landlock: {os.strerror(number)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
