"""The reaper, a small process between a worker and the process that starts it (Linux).

The reaper is a subreaper: if a descendant of the worker loses its parent, it becomes a child of the reaper. Every
process of a trial therefore stays below the reaper, where the supervisor sees it, and the times of ended processes are
kept. When the worker has ended, the reaper kills the remaining processes and ends with the worker's exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable

from harness.system.process_tree import ProcessTree

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def set_parent_death_signal(number: int = signal.SIGKILL) -> None:
    """On Linux, request that the kernel sends this process a signal when its parent dies. Elsewhere, do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number))


def enter_worker(close: Iterable[int], report: Callable[[int], None] = lambda code: None) -> None:
    """Fork this process. The parent becomes the reaper. This function returns only in the child, the worker.

    This process must have one thread. On systems other than Linux, nothing is forked, and this process is the worker.

    Args:
        close: file descriptors that the reaper closes. The pipes of the worker then end when the worker ends.
        report: function that the reaper calls with the exit code of the worker, or with the negative number of the
            signal that killed it. At this time, no process is left below the reaper. The reaper then ends. Its end
            takes longer, because the kernel has to release its memory.
    """
    if sys.platform != "linux":
        return
    reaper = os.getpid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        return  # a kernel before 3.4
    sys.stdout.flush()
    sys.stderr.flush()
    worker = os.fork()
    if not worker:
        set_parent_death_signal()
        if os.getppid() != reaper:  # the reaper has died before the signal was requested
            os._exit(1)
        return
    _reap(worker, close, report)


def _reap(worker: int, close: Iterable[int], report: Callable[[int], None]) -> None:
    """Wait for the worker, kill its remaining descendants, and end with the worker's exit code or signal."""

    def end(number: int, _: object) -> None:
        _kill_descendants()
        _die_by(number)

    # If the process that started the reaper dies, the kernel sends SIGTERM to the reaper. The reaper then kills the
    # processes below it. It does the same if another process sends SIGTERM or SIGINT, and ends by this signal. For the
    # supervisor, this looks as if the signal had killed the worker, so the supervisor resumes the trial.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    set_parent_death_signal(signal.SIGTERM)
    for descriptor in close:
        os.close(descriptor)
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == worker:
                break
    _kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    report(code)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has written its core file already
        _die_by(-code)
    os._exit(code)


def _die_by(number: int) -> None:
    """End this process by a signal."""
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(1)


def _kill_descendants() -> None:
    """Kill all processes below this one, and wait for their ends."""
    tree = ProcessTree(os.getpid())
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # raises the error if there is no process
        while True:
            tree.kill()
            # Descendants become children of this process when their parents have ended.
            os.waitpid(-1, 0)
