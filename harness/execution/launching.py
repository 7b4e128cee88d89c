"""Start the process of a worker: a fresh one, or one that a fork server forks.

Both kinds of worker are given the same environment, folders and descriptors, and run the same code. A forked worker
only starts faster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.execution.state import StopSignal
from harness.system import python_process

#: The command that starts a fresh worker.
WORKER = python_process.command("harness.worker")


@dataclass(frozen=True, kw_only=True)
class WorkerStart:
    """What a worker is started with.

    Args:
        events: writing end of the pipe of events.
        lock: descriptor of the lock of the run's folder.
        log: descriptor of the file for standard output and standard error.
        cores: indices of the processor cores to which the worker is pinned; it is not pinned when empty.
        environment: all environment variables.
        stop: signal that ends the trial.
        warn: function that is called with a message for the user.
    """

    events: int
    lock: int
    log: int
    cores: tuple[int, ...]
    environment: dict[str, str]
    stop: StopSignal
    warn: Callable[[str], None]


class LaunchedWorker(Protocol):
    """The process of a worker.

    Attributes:
        pid: the process id, which is also the id of the worker's session.
        forked: whether a fork server forked it.
    """

    pid: int
    forked: bool

    def send(self, line: bytes) -> None:
        """Write a line to the worker's standard input, unless the worker has ended."""
        ...

    def wait(self, timeout: float) -> int | None:
        """Return the exit code, negative for the number of a signal; None if the worker runs for `timeout` seconds."""
        ...

    def kill(self) -> int:
        """Kill the worker and all processes of its session, and return the exit code."""
        ...

    def close(self) -> None:
        """Close standard input. The worker must have ended."""
        ...


class Launcher(Protocol):
    """Starts workers."""

    def launch(self, start: WorkerStart) -> LaunchedWorker:
        """Start a worker.

        Raises:
            OSError: no process can be started.
            KeyboardInterrupt: the trial was stopped.
        """
        ...


class FreshLauncher:
    """Starts every worker as a new Python process."""

    def launch(self, start: WorkerStart) -> LaunchedWorker:
        process = subprocess.Popen(
            [*WORKER, str(start.events), str(start.lock), ",".join(map(str, start.cores))],
            stdin=subprocess.PIPE,
            stdout=start.log,
            stderr=start.log,
            pass_fds=(start.events, start.lock),
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
        kill_session(self.pid)
        return self._process.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def kill_session(pid: int) -> None:
    """Kill all processes of a worker's session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
