"""Reads the processor time of a process and of all its descendants from the kernel (Linux).

If a process of the tree ends, its children stay in the tree only if the root is a subreaper (`PR_SET_CHILD_SUBREAPER`).
The kernel then makes these children the root's own children.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.system.proc_files import ProcFiles, list_proc, read_proc

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
#: If the total of the helpers' processor seconds falls by more than this, the time of an ended process is missing from
#: the total. Smaller falls come from rounding: the kernel rounds each time of a process down to a clock tick.
_ROUNDING_S = 0.05


def can_read_processes() -> bool:
    """Return whether the kernel gives the times of other processes."""
    return sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTimes:
    """The processor time of one process.

    Args:
        pid: process id.
        parent: process id of the parent.
        started: time of the start in clock ticks since the boot. The pair (pid, started) identifies a process.
        name: name of the program.
        seconds: processor seconds of all its threads.
        reaped: processor seconds of the ended children for which it has waited, including their own `reaped`.
    """

    pid: int
    parent: int
    started: int
    name: str
    seconds: float
    reaped: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeTimes:
    """The processor times of a tree at one moment.

    Args:
        main: the main process: the oldest child of the root, or the root itself while it has no child.
        threads: processor seconds of the threads of the main process, by thread id.
        helpers: the processes below the root except the main process, by process id.
        helper_seconds: processor seconds of all helpers, including helpers that have ended.
    """

    main: ProcessTimes | None = None
    threads: Mapping[int, float] = field(default_factory=dict)
    helpers: Mapping[int, ProcessTimes] = field(default_factory=dict)
    helper_seconds: float = 0.0


class ProcessTree:
    """A process and its descendants.

    To save time, `/proc` is listed only if a process was created since the previous call. A process that was found
    outside of the tree is not examined again.

    Args:
        root: process id of the root.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._main = 0
        #: Process id -> time of the start. The time distinguishes a process from a later process with the same id.
        self._members: dict[int, int] = {}
        #: Ids of processes outside of the tree.
        self._foreign: set[int] = set()
        self._newest = -1
        #: Processor seconds of helpers that ended and for which no process waited.
        self._lost = 0.0
        self._helper_seconds = 0.0
        self._files = ProcFiles()

    def close(self) -> None:
        """Close the files that `read` keeps open."""
        self._files.close()

    def read(self) -> TreeTimes:
        """Return the current times.

        If the kernel does not report the times, or if the root has ended, `helper_seconds` keeps its last value, and
        the other fields are empty.
        """
        read = self._files.read
        if not can_read_processes() or (root := read_times(self._root, read)) is None:
            return TreeTimes(helper_seconds=self._helper_seconds)
        self._find_members(root, read)
        processes = {pid: times for pid in self._members if (times := read_times(pid, read)) is not None}
        if len(processes) < len(self._members):
            self._newest = -1  # a new process may have the id of the process that has ended
        self._members = {pid: times.started for pid, times in processes.items()}
        if not self._main:
            children = [times for times in processes.values() if times.parent == self._root]
            self._main = min(children, key=lambda times: (times.started, times.pid)).pid if children else 0
        main = processes.pop(self._main, None) if self._main else root
        if main is None:
            # The main process has ended. Its time is now a part of `root.reaped` that cannot be separated.
            return TreeTimes(helpers=processes, helper_seconds=self._helper_seconds)
        total = sum(times.seconds + times.reaped for times in processes.values()) + root.reaped + self._lost
        total += main.reaped if main is not root else 0.0
        # The time of an ended process is added to its parent's `reaped`, or is lost if the parent ignores SIGCHLD.
        if total < self._helper_seconds - _ROUNDING_S:
            self._lost += self._helper_seconds - total
        self._helper_seconds = max(self._helper_seconds, total)
        return TreeTimes(
            main=main,
            threads=_read_threads(main.pid, self._files.read),
            helpers=processes,
            helper_seconds=self._helper_seconds,
        )

    def kill(self) -> None:
        """Kill all descendants of the root, also those in other process groups."""
        for _ in range(2):  # a process that was forked during the first pass is found by the second
            if not can_read_processes() or (root := read_times(self._root)) is None:
                return
            self._newest = -1
            self._find_members(root)
            for pid in self._members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _find_members(self, root: ProcessTimes, read: Callable[[str], str] = read_proc) -> None:
        """Add the descendants that were created since the previous call; see `read_times`."""
        newest = _read_newest_process(read)
        if newest == self._newest and newest >= 0:
            return
        if newest < self._newest:  # the process ids have started again at small numbers
            self._foreign.clear()
        self._newest = newest
        listed = {int(name) for name in list_proc() if name.isdigit()}
        self._foreign &= listed
        unassigned: dict[int, ProcessTimes] = {}
        for pid in listed - self._foreign - self._members.keys() - {root.pid}:
            times = read_times(pid)
            if times is not None:
                unassigned[pid] = times
        tree = {root.pid, *self._members}
        added = True
        while added:
            added = False
            for pid, times in list(unassigned.items()):
                if times.parent in tree:
                    tree.add(pid)
                    self._members[pid] = times.started
                    del unassigned[pid]
                    added = True
        self._foreign |= unassigned.keys()


def read_times(pid: int, read: Callable[[str], str] = read_proc) -> ProcessTimes | None:
    """Return the times of a process; None if there is no such process.

    Args:
        pid: process id.
        read: function from the name of a file below /proc to its text. It raises an OSError if there is no such file.
    """
    try:
        text = read(f"{pid}/stat")
        # The name stands in parentheses and may contain any character.
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        seconds = read_clock(pid)
        own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        return ProcessTimes(
            pid=pid,
            parent=int(fields[1]),
            started=int(fields[19]),
            name=head.partition("(")[2],
            seconds=own / _TICKS if seconds is None else seconds,
            reaped=reaped / _TICKS,
        )
    except (OSError, ValueError, IndexError):
        return None


def is_ignoring_children(pid: int) -> bool:
    """Return whether a process ignores SIGCHLD. The kernel then drops the times of its ended children."""
    try:
        for line in read_proc(f"{pid}/status").splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGCHLD - 1) & 1)
    except (OSError, ValueError, IndexError):
        return False
    return False


def read_clock(pid: int) -> float | None:
    """Return the processor seconds of a process from its own clock, which is more exact than ticks.

    The result is None if the process has ended, or if the kernel does not provide the clock of another process.
    """
    if can_read_processes():
        # The kernel's per-process clock id, as clock_getcpuclockid(3) computes it.
        with contextlib.suppress(OSError):
            return time.clock_gettime((~pid << 3) | 2)
    return None


def _read_threads(pid: int, read: Callable[[str], str]) -> dict[int, float]:
    """Return the processor seconds of the threads of a process by thread id; see `read_times`."""
    seconds: dict[int, float] = {}
    with contextlib.suppress(OSError):
        for name in list_proc(f"{pid}/task"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                seconds[int(name)] = int(read(f"{pid}/task/{name}/schedstat").split()[0]) / 1e9
    return seconds


def read_processor_wait(pid: int) -> float:
    """Return the seconds for which the main thread of a process was ready to run and had no processor.

    The result is 0 if the process has ended, or if the kernel does not report the time.
    """
    try:
        return int(read_proc(f"{pid}/schedstat").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def read_thread_name(pid: int, thread: int) -> str:
    """Return the name of a thread; empty if it has ended."""
    with contextlib.suppress(OSError):
        return read_proc(f"{pid}/task/{thread}/comm").strip()
    return ""


def _read_newest_process(read: Callable[[str], str]) -> int:
    """Return the id of the newest process or thread; -1 if the kernel does not report it."""
    try:
        return int(read("loadavg").split()[4])
    except (OSError, ValueError, IndexError):
        return -1
