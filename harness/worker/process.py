"""The worker process: reads a job on standard input, sends events through a pipe, ends with its supervisor."""

from __future__ import annotations

# First of all imports: the clock keeps its own time functions before any plugin can touch them.
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
    """Read the job, run it, and end when the supervisor ends.

    Args:
        run_job: runs a job; `harness.worker.job.run_job` when None.
    """
    die_with_parent()
    # Before torch is imported: the threads that it starts, and processes that share the run, inherit the cores.
    if sys.argv[3] and sys.platform == "linux":
        os.sched_setaffinity(0, {int(core) for core in sys.argv[3].split(",")})
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=watch_parent, name="supervisor-watch", daemon=True).start()
    events, lock = int(sys.argv[1]), int(sys.argv[2])

    # A child that a plugin forks must not keep the run's lock or pipe when this process is gone.
    def release_in_child() -> None:
        os.close(events)
        os.close(lock)

    os.register_at_fork(after_in_child=release_in_child)
    encoder = msgspec.json.Encoder()
    # Another thread emits an event only when a rank has died, and then it is the last one.
    writing = threading.Lock()

    def emit(event: AnyEvent) -> None:
        line = memoryview(encoder.encode(event) + b"\n")
        with writing:
            while line:
                line = line[os.write(events, line) :]

    if run_job is None:
        # Imports torch, whose threads take over the cores set above.
        from harness.worker import job as jobs

        run_job = partial(jobs.run_job, abort=_exit_now)
    run_job(job, emit)
    _exit_now()


def _exit_now() -> None:
    # Not sys.exit: nothing that a plugin left registered (atexit, threads, destructors) may hold up the end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux only; elsewhere see `watch_parent`)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


def watch_parent() -> None:
    """End this process when standard input ends: its parent holds the other end for as long as it lives."""
    while os.read(0, 1024):
        pass
    os._exit(1)
