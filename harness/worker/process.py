"""The worker process. It reads a job from standard input, and writes events to a pipe.

A worker is a fresh process, or it is forked by the fork server (see `fork_server.py`). Either kind of worker calls
`run_worker`. The supervisor passes these command-line arguments to a fresh process:

1. the file descriptor of the pipe;
2. the file descriptor of the run's lock;
3. the indices of the CPU cores to use, separated by commas; empty for all cores;
4. the file descriptor of the socket between worker and evaluator; -1 if the worker evaluates its weights itself;
5. `worker`, or `evaluator` for the process that evaluates the weights (see `evaluator_process.py`).
"""

from __future__ import annotations

# This import comes first. The clock then uses the original functions of `time`, even if a plugin replaces them.
import harness.worker.clock  # noqa: F401  # isort: skip

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import msgspec

from harness.contract.events import AnyEvent, Confined, Done
from harness.contract.forking import ANSWER, ENDED, AnswerKind
from harness.contract.run import Job
from harness.contract.sandbox import NO_SANDBOX
from harness.system import sandbox
from harness.system.garbage import collections_paused
from harness.worker.allocator import keep_freed_memory
from harness.worker.emit import Emit
from harness.worker.prepare_data import prepare_data
from harness.worker.reaper import enter_worker, set_parent_death_signal

#: Largest number of bytes that are written to the pipe of events at once. On Linux the pipe is a socket, and
#: the kernel limits the size of its messages.
MESSAGE_BYTES = 32768


def main(run_job: Callable[[Job, Emit], None] | None = None) -> None:
    """Read a job and run it. This process ends when the job or the supervisor ends.

    Args:
        run_job: see `run_worker`.
    """
    set_parent_death_signal()
    descriptors = ProcessDescriptors(events=int(sys.argv[1]), lock=int(sys.argv[2]), peer=int(sys.argv[4]))
    cores = [int(core) for core in sys.argv[3].split(",") if core]
    run_worker(descriptors, cores, run_job, evaluator=sys.argv[5] == "evaluator")


@dataclass(frozen=True, kw_only=True)
class ProcessDescriptors:
    """The file descriptors that a worker or an evaluator gets from the supervisor.

    Args:
        events: writing end of the pipe of events.
        lock: lock of the run's folder.
        peer: socket between worker and evaluator; -1 if the worker evaluates its weights itself.
        status: status pipe of a forked process (`harness.contract.forking`); -1 for a fresh process.
    """

    events: int
    lock: int
    peer: int = -1
    status: int = -1


def run_worker(
    descriptors: ProcessDescriptors,
    cores: Iterable[int],
    run_job: Callable[[Job, Emit], None] | None,
    evaluator: bool = False,
) -> None:
    """Read the job from standard input, run it, and end this process.

    Args:
        descriptors: the file descriptors from the supervisor.
        cores: indices of the processor cores to which this process is pinned (Linux only). If empty, it is not pinned.
        run_job: function that runs a job; `harness.worker.job.run_job` if None.
        evaluator: whether this process is the evaluator of the trial.
    """
    events_fd = descriptors.events
    # SIGINT ends this process like any other signal. A KeyboardInterrupt could be taken for an error of the submission.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A fresh worker is pinned before it imports torch, so that torch's threads and the processes of other ranks inherit
    # the cores.
    pinned = frozenset(cores) if sys.platform == "linux" else frozenset()
    if pinned and not evaluator:
        os.sched_setaffinity(0, pinned)
    if not evaluator:
        closed = [fd for fd in (0, events_fd, descriptors.peer) if fd >= 0]
        enter_worker(close=closed, report=partial(_report_end, descriptors))
    # Only the fork server and the reaper report how the worker ended.
    _close(descriptors.status)
    line = sys.stdin.buffer.readline()
    if not line:  # the supervisor stopped the trial while this process started
        os._exit(1)
    job = msgspec.json.decode(line, type=Job)
    # An evaluator with one thread is pinned later, in `run_evaluator`.
    if pinned and evaluator and job.spec.threads > 1:
        os.sched_setaffinity(0, pinned)
    # The sandbox is entered before a thread starts, since it does not restrict threads that already run.
    first_event = enter_sandbox(job)
    # Steps of training then take the same time whether or not this process evaluates the weights, which allocates more
    # memory than training.
    keep_freed_memory()
    threading.Thread(target=watch_parent, name="supervisor-watch", daemon=True).start()

    # A child process that a plugin forks must not keep the run's lock and pipe open after this process ends.
    def release_in_child() -> None:
        os.close(events_fd)
        os.close(descriptors.lock)
        _close(descriptors.peer)

    os.register_at_fork(after_in_child=release_in_child)
    emit = make_emitter(events_fd)
    if not evaluator:
        emit(first_event)
    if isinstance(first_event, Done):
        _exit_now()
    if run_job is None:
        with collections_paused():
            run_job = _load_run_job(descriptors.peer, evaluator, pinned)
    run_job(job, emit)
    # The kernel closes the descriptors of a process only after it has released the memory. The evaluator can end
    # meanwhile.
    _close(descriptors.peer)
    _exit_now()


def _report_end(descriptors: ProcessDescriptors, code: int) -> None:
    """Release the lock of the run's folder, and report the exit code of the worker.

    The reaper calls this function. The supervisor then does not wait for the end of the reaper.
    """
    _close(descriptors.lock)
    if descriptors.status >= 0:
        send_answer(descriptors.status, ENDED, code)


def send_answer(status: int, kind: AnswerKind, number: int) -> None:
    """Write an answer to a status pipe, unless the supervisor has closed the reading end."""
    with contextlib.suppress(BrokenPipeError):
        os.write(status, ANSWER.pack(kind, number))


def _close(descriptor: int) -> None:
    """Close a file descriptor, if there is one."""
    if descriptor >= 0:
        with contextlib.suppress(OSError):  # a submission may have closed it
            os.close(descriptor)


def make_emitter(descriptor: int) -> Emit:
    """Return a function that writes events to the pipe with this file descriptor. It may be called from any thread."""
    encoder = msgspec.json.Encoder()
    # The lock is needed because another thread emits the last event if the process of a rank dies.
    write_lock = threading.Lock()

    def emit(event: AnyEvent) -> None:
        rest = memoryview(encoder.encode(event) + b"\n")
        with write_lock:
            while rest:
                rest = rest[os.write(descriptor, rest[:MESSAGE_BYTES]) :]

    return emit


def enter_sandbox(job: Job) -> Confined | Done:
    """Let a child process prepare missing data, then enter the job's sandbox. This process must have one thread.

    Returns:
        The worker's first event, which is also its last event if the kernel refuses the sandbox.
    """
    began = time.perf_counter()
    if job.unprepared:
        child = os.fork()
        if not child:
            set_parent_death_signal()
            prepare_data(job)
        os.waitpid(child, 0)
    opening_seconds = time.perf_counter() - began
    if job.sandbox is None:
        return Confined(sandbox=NO_SANDBOX, opening_seconds=opening_seconds)
    try:
        return Confined(sandbox=sandbox.enter(job.sandbox), opening_seconds=opening_seconds)
    except OSError as error:
        reason = f"the sandbox {job.sandbox.name} cannot be entered ({error}); run with {sandbox.VARIABLE}=none"
        return Done(status="crashed", reason=reason)


def _load_run_job(peer: int, evaluator: bool, pinned: frozenset[int]) -> Callable[[Job, Emit], None]:
    """Import torch, and return the function that runs a job.

    Torch's threads inherit the cores to which this process is pinned at the time of this call.
    """
    connection = None
    if peer >= 0:
        os.set_inheritable(peer, False)
        connection = socket.socket(fileno=peer)
    if evaluator:
        from harness.worker import evaluator_process

        assert connection is not None
        evaluator_process.forbid_debugging()
        return partial(evaluator_process.run_evaluator, connection=connection, cores=pinned)
    from harness.worker import job as jobs

    return partial(jobs.run_job, abort=_exit_now, evaluator=connection)


def _exit_now() -> None:
    """End this process at once. `sys.exit` would run atexit handlers of plugins and wait for threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def watch_parent() -> None:
    """Wait until standard input is closed, then end this process.

    The input is closed when the process ends that wrote the job.
    """
    while os.read(0, 1024):
        pass
    os._exit(1)
