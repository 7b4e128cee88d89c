"""Allocate the cores and GPUs of this machine to trials.

A core or GPU is never reserved for two trials at once. On Linux, this also holds for trials of different processes.

Sources: unix(7) on abstract sockets; Documentation/admin-guide/cputopology.rst of the Linux kernel on thread siblings.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from harness.contract.run import RunSpec
from harness.execution.state import ResourceSlot
from harness.hardware import detect, drivers

#: Prefix of the names of all locks.
_PREFIX = "algorace-"


class Machine:
    """The cores and GPUs that trials may use.

    Args:
        cores: indices of processor cores; if None, the cores that this process may use.
        gpus: names as in `CUDA_VISIBLE_DEVICES`; if None, the GPUs that are visible to this process.
    """

    def __init__(self, cores: Sequence[int] | None = None, gpus: Sequence[str] | None = None) -> None:
        self.cores = tuple(list_usable_cores() if cores is None else cores)
        self._gpus = None if gpus is None else tuple(gpus)

    @property
    def gpus(self) -> tuple[str, ...]:
        """The names of the GPUs, as in `CUDA_VISIBLE_DEVICES`.

        The GPU driver is asked when this property is first used, so that CPU trials do not wait for the driver.
        """
        if self._gpus is None:
            self._gpus = list_visible_gpus()
        return self._gpus

    def allocate(self, spec: RunSpec) -> Allocation | None:
        """Reserve the resources of a trial, or return None if too few are free.

        A trial on the CPU gets `ranks` × `threads` cores. If the machine has fewer cores, the trial gets all cores and
        is not pinned. A trial on CUDA gets one GPU per rank. A trial on another device gets that device.

        A trial on CUDA also gets a share of the cores. With 2 of the machine's 8 GPUs, for example, it gets a quarter
        of the cores, but at least `ranks` × `threads`. If this share is not free, the trial gets `ranks` × `threads`
        cores. If these are not free either, the trial is not pinned.
        """
        kind, _, index = spec.device.partition(":")
        required = spec.ranks * spec.threads
        if kind == "cpu":
            allocation = _allocate("core", self.cores, min(required, len(self.cores)))
            if allocation is not None and required <= len(self.cores):
                allocation.slot = ResourceSlot(cores=tuple(int(core) for core in allocation.names))
            return allocation
        if kind != "cuda":
            return _allocate("device", [kind], 1)
        candidates = self.gpus[int(index) : int(index) + spec.ranks] if index else self.gpus
        # Other commands may see the same GPU under another name.
        allocation = _allocate("gpu", candidates, spec.ranks, partial(drivers.common_name, detect.all_gpus()))
        if allocation is None:
            return None
        # If the device has a number, the environment variables are left unchanged, so that the number stays valid.
        gpus = () if index else allocation.names
        n_cores = max(required, len(self.cores) * spec.ranks // len(self.gpus))
        cores = _allocate("core", self.cores, n_cores) or _allocate("core", self.cores, required)
        allocation.slot = ResourceSlot(gpus=gpus)
        if cores is not None:
            allocation.join(cores)
            allocation.slot = ResourceSlot(cores=tuple(int(core) for core in cores.names), gpus=gpus)
        return allocation


class Allocation:
    """Cores, GPUs or a device that are reserved for a trial.

    Args:
        names: names of the reserved resources, in the order of the request.
        locks: locks that prevent other trials from reserving the same resources.

    Attributes:
        slot: the cores and GPUs that the trial's worker process uses; empty if the worker is not restricted.
    """

    def __init__(self, names: tuple[str, ...], locks: list[ResourceLock]) -> None:
        self.names = names
        self.slot = ResourceSlot()
        self._locks = locks

    def join(self, other: Allocation) -> None:
        """Let `release` also release the other allocation."""
        self._locks += other._locks

    def release(self) -> None:
        """Release all resources."""
        for lock in self._locks:
            lock.release()


def list_usable_cores() -> tuple[int, ...]:
    """Return the cores that this process may use, limited by the CPU quota of its control group.

    Only one hardware thread of each core is returned, because two trials on one core would slow each other down.
    """
    if sys.platform != "linux":
        return tuple(range(os.cpu_count() or 1))
    allowed = sorted(os.sched_getaffinity(0))
    physical = [
        thread for thread in allowed if thread == min(_read_siblings(thread).intersection(allowed), default=thread)
    ]
    quota = _cpu_quota()
    return tuple(physical[: max(1, quota)] if quota is not None else physical)


def list_visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that are visible to this process, as names for `ResourceSlot.gpus`."""
    gpus = detect.all_gpus()
    names = drivers.visible_names(gpus)
    return tuple(str(gpu.index) for gpu in gpus) if names is None else names


def _read_siblings(hardware_thread: int) -> set[int]:
    """Return the indices of all hardware threads of the core to which a hardware thread belongs."""
    try:
        listed = Path(f"/sys/devices/system/cpu/cpu{hardware_thread}/topology/thread_siblings_list").read_text()
    except OSError:
        return {hardware_thread}
    return parse_cores(listed)


def parse_cores(listed: str) -> set[int]:
    """Return the indices in a list that is in the kernel's notation.

    >>> sorted(parse_cores("0-2,8"))
    [0, 1, 2, 8]
    """
    cores: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", listed):
        cores.update(range(int(first), int(last or first) + 1))
    return cores


def _cpu_quota() -> int | None:
    """Return the number of whole processors that the control group allows, or None if it sets no limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return int(quota) // int(period)
    return None


def _allocate(
    kind: str, candidates: Iterable[int | str], n: int, common_name: Callable[[str], str] = str
) -> Allocation | None:
    """Lock the first n free candidates, or lock nothing and return None if fewer are free.

    Args:
        kind: kind of the resources.
        candidates: names of the resources.
        n: number of resources.
        common_name: function that returns the name by which all commands lock a candidate.
    """
    names: list[str] = []
    locks: list[ResourceLock] = []
    for candidate in candidates:
        if len(locks) == n:
            break
        lock = ResourceLock.acquire(f"{_PREFIX}{kind}-{common_name(str(candidate))}")
        if lock is not None:
            names.append(str(candidate))
            locks.append(lock)
    allocation = Allocation(tuple(names), locks)
    if len(locks) == n:
        return allocation
    allocation.release()
    return None


class ResourceLock:
    """A named lock that one process at a time can hold, and that the kernel releases when the process ends.

    On Linux the lock is an abstract socket. On other systems the lock excludes only other trials of the same process.
    """

    _held: ClassVar[set[str]] = set()
    _lock = threading.Lock()

    def __init__(self, name: str, bound: socket.socket | None) -> None:
        self._name = name
        self._socket = bound

    @classmethod
    def acquire(cls, name: str) -> ResourceLock | None:
        if sys.platform != "linux":
            with cls._lock:
                if name in cls._held:
                    return None
                cls._held.add(name)
            return cls(name, None)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(f"\0{name}")
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return cls(name, bound)

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()
        else:
            with self._lock:
                self._held.discard(self._name)
