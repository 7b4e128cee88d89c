"""Give this process its own namespaces: an empty network, an empty `/dev/shm`, and its own view of the files.

Source: the manual pages namespaces(7), user_namespaces(7), mount_namespaces(7) and mount_setattr(2).

A process without privileges needs a user namespace to enter the other namespaces. Some systems do not permit user
namespaces. Containers usually permit no new namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

SHARED_MEMORY = "/dev/shm"
_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 32, 4096, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTRIBUTE_READ_ONLY = 442, -100, 0x8000, 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_CAPABILITY_VERSION, _PR_CAPBSET_DROP = 0x20080522, 24
#: The capabilities that a process of root keeps, so that it can use its files (CHOWN, DAC_OVERRIDE, FOWNER, FSETID).
_KEPT_CAPABILITIES = (0, 1, 3, 4)
_LAST_CAPABILITY = 63


class _MountAttributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def isolate(*, network: bool) -> None:
    """Enter new namespaces, with an empty `/dev/shm`. If `network` is False, a new loopback is the only interface.

    The process must have one thread. Call `drop_capabilities` after this function.

    Args:
        network: whether the process stays in its network namespace and keeps its network interfaces.

    Raises:
        OSError: the kernel refuses. The process may then be in some of the namespaces.
    """
    user, group = os.geteuid(), os.getegid()
    namespaces = _NEW_MOUNTS | _NEW_IPC | (0 if network else _NEW_NETWORK) | (_NEW_USER if user else 0)
    _check("unshare", _libc().unshare(namespaces))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    if os.path.isdir(SHARED_MEMORY) and not os.path.islink(SHARED_MEMORY):
        _mount("tmpfs", SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    if not network:
        _start_loopback()


def hide_files(hidden: str, writable: Sequence[str]) -> None:
    """Make all files outside the writable folders read-only, and hide one folder's content. Call `isolate` first.

    `/dev/shm` stays writable.

    Args:
        hidden: the folder whose content is hidden; an empty string for no folder.
        writable: folders whose content stays visible and writable, even below `hidden`.

    Raises:
        OSError: the kernel refuses.
    """
    working_folder = os.getcwd()
    descriptors = {os.path.realpath(path): os.open(path, os.O_PATH | os.O_CLOEXEC) for path in writable}
    try:
        _set_read_only("/", _AT_RECURSIVE, True)
        if os.path.isdir(SHARED_MEMORY):
            _set_read_only(SHARED_MEMORY, 0, False)
        hidden = os.path.realpath(hidden) if hidden else ""
        if hidden:
            _mount("tmpfs", hidden, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
        for path, descriptor in descriptors.items():
            if hidden:
                os.makedirs(path, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}", path, "", _MS_BIND | _MS_REC)
            _set_read_only(path, 0, False)
        if hidden:
            _set_read_only(hidden, 0, True)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    # Without this call, the working folder would still refer to the files below the new mounts.
    with contextlib.suppress(OSError):
        os.chdir(working_folder)


def drop_capabilities() -> None:
    """Give up the privileges in this process's namespaces, so that this process cannot make hidden files visible again.

    Raises:
        OSError: the kernel refuses.
    """
    libc = _libc()
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in _KEPT_CAPABILITIES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for numbers that this kernel does not know
    # Outside of a new user namespace, only root has capabilities. The process of any other user keeps none.
    kept = 0 if os.geteuid() else sum(1 << capability for capability in _KEPT_CAPABILITIES)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = struct.pack("=6I", kept, kept, 0, 0, 0, 0)
    _check("capset", libc.capset(header, sets))


def _start_loopback() -> None:
    """Start the loopback interface of a new network namespace, for the submission's own processes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("=16sH22x", b"lo", 0)
        flags = struct.unpack("=16sH22x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo", flags | _IFF_UP))


def _set_read_only(path: str, flags: int, read_only: bool) -> None:
    attributes = _MountAttributes(**{"set" if read_only else "clear": _ATTRIBUTE_READ_ONLY})
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    arguments = (_AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), size)
    _check(f"mount_setattr {path}", _libc().syscall(_MOUNT_SETATTR, *arguments))


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    names = (os.fsencode(source), os.fsencode(target), kind.encode() or None)
    _check(f"mount {target}", _libc().mount(*names, ctypes.c_ulong(flags), data.encode() or None))


def _check(call: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
