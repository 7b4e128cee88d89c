"""Start the process of a worker or an evaluator. The process is a new Python process, or a fork server forks it.

In this module, the word worker also means an evaluator. Both kinds of process get the same environment, folder and file
descriptors, and run the same code. A forked process starts faster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.contract.forking import Role
from harness.contract.run import RunSpec
from harness.execution.state import StopSignal
from harness.system import python_process
from harness.system.process_tree import ProcessTree

#: The command that starts a worker as a new Python process (a fresh worker).
WORKER = python_process.command("harness.worker")
_STANDARD_WORKER = tuple(WORKER)


def can_start_evaluator() -> bool:
    """Return whether the harness can start an evaluator, a second process that evaluates the worker's weights.

    This is always possible except in tests that replace the worker's program. These tests have no program for the
    evaluator.
    """
    return tuple(WORKER) == _STANDARD_WORKER


def evaluates_outside(spec: RunSpec) -> bool:
    """Return whether an evaluator process evaluates the weights of a trial during its run.

    On a GPU or on several devices, the worker evaluates the weights. After the run, a process that never imported the
    submission evaluates them again.
    """
    return can_start_evaluator() and (spec.device, spec.ranks) == ("cpu", 1)


@dataclass(frozen=True, kw_only=True)
class WorkerStart:
    """The data with which a worker is started.

    Args:
        events: file descriptor of the writing end of the event pipe.
        lock: file descriptor of the lock of the run's folder.
        log: file descriptor of the file for standard output and standard error.
        cores: indices of the processor cores to which the worker is pinned. If empty, the worker is not pinned.
        environment: all environment variables of the worker.
        stop: signal that stops the trial.
        warn: function that shows a message to the user.
        peer: file descriptor of the socket between worker and evaluator; -1 if the worker evaluates its weights itself.
        role: whether the process trains or evaluates.
        evaluated: the trial whose weights an evaluator evaluates; None for a process that trains.
    """

    events: int
    lock: int
    log: int
    cores: tuple[int, ...]
    environment: dict[str, str]
    stop: StopSignal
    warn: Callable[[str], None]
    peer: int = -1
    role: Role = "worker"
    evaluated: RunSpec | None = None


class LaunchedWorker(Protocol):
    """The process of a worker.

    Attributes:
        pid: the process id, which is also the id of the worker's session. On Linux, it is the id of the reaper, a
            process between the supervisor and the worker (`harness.worker.reaper`).
        forked: whether a fork server forked the worker.
    """

    pid: int
    forked: bool

    def send(self, line: bytes) -> None:
        """Write a line to the worker's standard input, unless the worker has ended."""
        ...

    def wait(self, timeout: float) -> int | None:
        """Wait for the end of the worker and return its exit code.

        A negative code is the number of the signal that killed the worker. None means that the worker still runs after
        `timeout` seconds.
        """
        ...

    def kill(self) -> int:
        """Kill the worker, its descendants and its process group, and return the exit code."""
        ...

    def close(self) -> None:
        """Close the pipe to the standard input of a worker that has ended."""
        ...


class StartingWorker(Protocol):
    """A worker that is being started. The caller calls either `finish` or `cancel`."""

    def finish(self) -> LaunchedWorker:
        """Wait until the worker has started, and return it.

        Raises:
            OSError: no process can be started.
            KeyboardInterrupt: the trial was stopped.
        """
        ...

    def cancel(self) -> None:
        """End the worker. It has received no job."""
        ...


class Launcher(Protocol):
    """Starts workers."""

    def begin(self, start: WorkerStart) -> StartingWorker:
        """Begin to start a worker. Several workers can start at the same time.

        The file descriptors in `start` must stay open until the worker has started.

        Raises:
            OSError: no process can be started.
        """
        ...


class FreshLauncher:
    """Starts every worker as a new Python process."""

    def begin(self, start: WorkerStart) -> StartingWorker:
        """See `Launcher.begin`."""
        process = subprocess.Popen(
            [*WORKER, str(start.events), str(start.lock), ",".join(map(str, start.cores)), str(start.peer), start.role],
            stdin=subprocess.PIPE,
            stdout=start.log,
            stderr=start.log,
            pass_fds=(start.events, start.lock, *([start.peer] if start.peer >= 0 else [])),
            env=start.environment,
            start_new_session=True,  # Ctrl-C goes to the supervisor, which decides when the worker stops
        )
        return _FreshWorker(process)


class _FreshWorker:
    """A worker that is a child of this process."""

    forked = False

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def finish(self) -> LaunchedWorker:
        return self

    def cancel(self) -> None:
        self.kill()
        self.close()

    def send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def wait(self, timeout: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def kill(self) -> int:
        kill_worker(self.pid)
        return self._process.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def kill_worker(pid: int) -> None:
    """Kill a worker, all its descendants, and all processes of its process group."""
    ProcessTree(pid).kill()
    kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill the processes of a worker's process group, if there are any."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
