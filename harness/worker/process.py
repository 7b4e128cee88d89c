"""The worker process. It reads a job from standard input, writes events to a pipe, and ends when its supervisor ends.

The supervisor passes three command-line arguments: the file descriptor of the pipe, the file descriptor of the run's
lock, and the numbers of the CPU cores to use, separated by commas (empty for all cores).
"""

from __future__ import annotations

# This import comes first, so that the clock binds its time functions before a plugin can replace them.
import harness.worker.clock  # noqa: F401  # isort: skip

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

import msgspec

from harness.contract.events import AnyEvent
from harness.contract.run import Job
from harness.worker.emit import Emit


def main(run_job: Callable[[Job, Emit], None] | None = None) -> None:
    """Read a job and run it. This process ends when the job or the supervisor ends.

    Args:
        run_job: function that runs a job; `harness.worker.job.run_job` if None.
    """
    die_with_parent()
    # The cores are set before torch is imported, so that its threads and the processes of other ranks inherit them.
    if sys.argv[3] and sys.platform == "linux":
        os.sched_setaffinity(0, {int(core) for core in sys.argv[3].split(",")})
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=watch_parent, name="supervisor-watch", daemon=True).start()
    events_fd, lock_fd = int(sys.argv[1]), int(sys.argv[2])

    # A child process that a plugin forks must not keep the run's lock and pipe open after this process ends.
    def release_in_child() -> None:
        os.close(events_fd)
        os.close(lock_fd)

    os.register_at_fork(after_in_child=release_in_child)
    encoder = msgspec.json.Encoder()
    # The lock is needed because another thread emits the last event if the process of a rank dies.
    write_lock = threading.Lock()

    def emit(event: AnyEvent) -> None:
        line = memoryview(encoder.encode(event) + b"\n")
        with write_lock:
            while line:
                line = line[os.write(events_fd, line) :]

    if run_job is None:
        # This module imports torch, whose threads inherit the cores set above. So it is imported only here.
        from harness.worker import job as jobs

        run_job = partial(jobs.run_job, abort=_exit_now)
    run_job(job, emit)
    _exit_now()


def _exit_now() -> None:
    """End this process at once, unlike `sys.exit`, which runs atexit handlers of plugins and waits for threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent() -> None:
    """On Linux, request that the kernel kills this process when its parent dies. On other systems, do nothing."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


def watch_parent() -> None:
    """Wait until standard input is closed, then end this process. The input is closed when the parent process ends."""
    while os.read(0, 1024):
        pass
    os._exit(1)
