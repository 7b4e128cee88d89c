"""Start workers by forking them from a fork server (see `harness.worker.fork_server`).

A gate calls an executor for every pair of runs. All executor calls in this process share a fork server. A server ends
when this process ends, or when the server has been idle for some time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from harness.contract.forking import ANSWER, FAILED, LENGTH, STARTED, ForkRequest
from harness.contract.run import RunSpec
from harness.execution.launching import (
    FreshLauncher,
    LaunchedWorker,
    StartingWorker,
    WorkerStart,
    kill_group,
    kill_worker,
)
from harness.system import python_process
from harness.system.private_folders import PRIVATE

#: The command that starts a fork server.
SERVER = python_process.command("harness.worker.fork_server")
#: Maximum number of seconds until a server has forked a worker. The first request includes the time of the imports.
FORK_S = 300.0
#: Interval in seconds at which the launcher checks whether the trial was stopped, while a worker is being forked.
_WAKE_S = 0.2
#: Maximum number of seconds to wait for the end of a worker whose server has died. The kernel kills such a worker.
_ORPHAN_S = 10.0
#: Environment variables that differ between the trials of a command. No module that the server imports reads them.
_TRIAL_VARIABLES = frozenset(PRIVATE)
#: Environment variables that hide all GPUs. For a visible GPU, torch would start a thread, and the server could not be
#: forked.
_NO_GPUS = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


def can_fork(spec: RunSpec) -> bool:
    """Return whether the worker of a trial can be forked.

    The trial must run on Linux and on one CPU thread. The model must not be compiled, and steps must not be profiled.
    """
    return (
        sys.platform == "linux"
        and hasattr(os, "pidfd_open")
        and (spec.device, spec.ranks, spec.threads) == ("cpu", 1, 1)
        and not spec.workload.facts.precision.compile
        and not spec.profile
    )


class ForkError(Exception):
    """No worker could be forked. The message is a clause that gives the reason."""


class WarmLauncher:
    """A launcher that forks workers. After a fork server has failed, each worker is started as a new Python process.

    Attributes:
        failed: whether a fork server has failed.
    """

    def __init__(self) -> None:
        self._fresh = FreshLauncher()
        self.failed = False
        self._lock = threading.Lock()

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Start a fork server if there is none, without waiting for it.

        The server imports torch while the trial is prepared.

        Args:
            environment: environment variables of a worker. Variables that differ between trials are ignored.
        """
        if not self.failed:
            # If no server can be started, the first worker reports the reason.
            with contextlib.suppress(ForkError):
                ForkServer.shared(environment)

    def begin(self, start: WorkerStart) -> StartingWorker:
        """See `Launcher.begin`."""
        return self._fresh.begin(start) if self.failed else _StartingFork(start, self)

    def start_fresh(self, start: WorkerStart, error: ForkError) -> LaunchedWorker:
        """Start a worker as a new Python process, because it cannot be forked, and tell the user the reason once."""
        with self._lock:  # trials that start at the same time may all fail
            is_first, self.failed = not self.failed, True
        if is_first:
            start.warn(f"no worker can be forked: {error}; workers start as new processes, which takes longer")
        return self._fresh.begin(start).finish()


class _StartingFork:
    """A worker that a fork server of this process has been asked to fork. If there is no server, one is started.

    Args:
        start: the data with which the worker is started.
        launcher: starts the worker as a new Python process if it cannot be forked.
    """

    def __init__(self, start: WorkerStart, launcher: WarmLauncher) -> None:
        self._start = start
        self._launcher = launcher
        self._server: ForkServer | None = None
        self._is_new = False
        self._request: _Request | ForkError
        self._ask()

    def finish(self) -> LaunchedWorker:
        while True:
            try:
                return self._await()
            except ForkError as error:
                # A server that has ended since the last trial, for example because it was idle, is replaced.
                is_replaced = self._server is not None and not self._is_new and not self._server.is_running()
                if self._launcher.failed or not is_replaced:
                    return self._launcher.start_fresh(self._start, error)
            self._ask()

    def cancel(self) -> None:
        if isinstance(self._request, _Request):
            self._request.close()

    def _ask(self) -> None:
        """Send a request to the server. An error is kept for `finish`."""
        self._server = None
        try:
            self._server, self._is_new = ForkServer.shared(self._start.environment)
            self._request = self._server.request(self._start)
        except ForkError as error:
            self._request = error

    def _await(self) -> LaunchedWorker:
        if isinstance(self._request, ForkError):
            raise self._request
        assert self._server is not None
        try:
            return self._server.await_worker(self._request, self._start)
        except BaseException:
            self._request.close()
            raise


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request to fork a worker that was sent to a server.

    Args:
        status: reading end of the worker's status pipe.
        stdin: writing end of the pipe for the worker's standard input.
    """

    status: int
    stdin: int

    def close(self) -> None:
        """Close the pipes. If a worker is forked nevertheless, it reads the end of its input and ends."""
        os.close(self.status)
        os.close(self.stdin)


class ForkServer:
    """A running fork server.

    Args:
        environment: environment variables of the workers. Variables that differ between trials are ignored.

    Raises:
        ForkError: the server cannot be started.
    """

    _servers: ClassVar[list[ForkServer]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = _common_variables(environment)
        self._command = tuple(SERVER)
        self._owner = os.getpid()
        self._send_lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._last_output = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._control, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = subprocess.Popen(
                [*SERVER, str(remote.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(remote.fileno(),),
                env={**self._environment, **_NO_GPUS},
                start_new_session=True,
            )
        except OSError as error:
            self._control.close()
            self._log.close()
            raise ForkError(f"the fork server cannot be started ({error.strerror or error})") from error
        finally:
            remote.close()

    @classmethod
    def shared(cls, environment: Mapping[str, str]) -> tuple[ForkServer, bool]:
        """Return a server that can fork workers with this environment, and whether this call started the server."""
        with cls._lock:
            for server in [server for server in cls._servers if not server.is_running()]:
                server.close()
                cls._servers.remove(server)
            for server in cls._servers:
                if server._serves(environment):
                    return server, False
            if not cls._servers:
                atexit.register(cls.close_all)
            server = cls(environment)
            cls._servers.append(server)
            return server, True

    @classmethod
    def close_all(cls) -> None:
        """End all servers of this process and the workers of these servers."""
        with cls._lock:
            for server in cls._servers:
                server.close()
            cls._servers.clear()

    def is_running(self) -> bool:
        """Return whether the server is running and was started by this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def _serves(self, environment: Mapping[str, str]) -> bool:
        """Return whether the server can fork workers with this environment."""
        return (self._command, self._environment) == (tuple(SERVER), _common_variables(environment))

    def request(self, start: WorkerStart) -> _Request:
        """Ask the server to fork a worker, and do not wait for the worker.

        Raises:
            ForkError: the server has ended.
        """
        try:
            folder = os.getcwd()
        except OSError as error:
            raise ForkError(f"the current folder does not exist ({error.strerror})") from error
        request = ForkRequest(
            environment=start.environment,
            folder=folder,
            cores=start.cores,
            role=start.role,
            evaluated=start.evaluated,
        )
        status_reader, status_writer = os.pipe()
        stdin_reader, stdin_writer = os.pipe()
        pipes = _Request(status=status_reader, stdin=stdin_writer)
        try:
            descriptors = [stdin_reader, start.log, start.events, start.lock, status_writer]
            self._send(msgspec.json.encode(request), descriptors + ([start.peer] if start.peer >= 0 else []))
        except OSError as error:
            pipes.close()
            raise self._end_error() from error
        finally:
            os.close(status_writer)
            os.close(stdin_reader)
        return pipes

    def close(self) -> None:
        """End the server. The kernel then kills the workers of the server."""
        with self._send_lock:
            self._control.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._last_line()  # stores the line for a trial that must still report why the server ended
        with self._log_lock:
            self._log.close()

    def _send(self, payload: bytes, descriptors: list[int]) -> None:
        """Send a request with its file descriptors, in the order of `harness.contract.forking.DESCRIPTORS`."""
        with self._send_lock:
            socket.send_fds(self._control, [LENGTH.pack(len(payload))], descriptors, socket.MSG_NOSIGNAL)
            self._control.sendall(payload, socket.MSG_NOSIGNAL)

    def await_worker(self, request: _Request, start: WorkerStart) -> LaunchedWorker:
        """Wait until the worker of a request has started, and return it.

        Raises:
            ForkError: the server did not fork the worker.
            KeyboardInterrupt: the trial was stopped.
        """
        deadline = time.monotonic() + FORK_S
        while not select.select([request.status], [], [], _WAKE_S)[0]:
            if start.stop.is_set:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise ForkError(f"the fork server did not answer for {FORK_S:.0f} s")
        answer = os.read(request.status, ANSWER.size)
        if not answer:
            raise self._end_error()
        kind, number = ANSWER.unpack(answer)
        if kind == STARTED:
            return _ForkedWorker(number, request.status, request.stdin)
        raise ForkError(os.strerror(number) if kind == FAILED else f"the worker ended at once with code {number}")

    def _end_error(self) -> ForkError:
        """Return the error for a server that has ended. The message contains the last line of the server's output."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        last_line = self._last_line()
        return ForkError(f"the fork server has ended{f' ({last_line})' if last_line else ''}")

    def _last_line(self) -> str:
        """Return the last line of the server's output, which contains the reason why the server ended."""
        # Two trials may call this method at the same time. A third trial may have replaced and closed this server.
        with self._log_lock:
            if not self._log.closed:
                with contextlib.suppress(OSError, ValueError):
                    self._log.seek(0)
                    lines = self._log.read().decode(errors="replace").strip().splitlines()
                    self._last_output = lines[-1].strip() if lines else ""
            return self._last_output


class _ForkedWorker:
    """A worker that a fork server forked.

    Args:
        pid: process id of the worker.
        status: reading end of the worker's status pipe, on which the server reports the exit code.
        stdin: writing end of the pipe for the worker's standard input.
    """

    forked = True

    def __init__(self, pid: int, status: int, stdin: int) -> None:
        self.pid = pid
        self._status = status
        self._stdin = stdin
        self._returncode: int | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # the worker has ended and was reaped
            self._pidfd = -1

    def send(self, line: bytes) -> None:
        unsent = memoryview(line)
        with contextlib.suppress(BrokenPipeError):
            while unsent:
                unsent = unsent[os.write(self._stdin, unsent) :]

    def wait(self, timeout: float) -> int | None:
        if self._returncode is None and select.select([self._status], [], [], timeout)[0]:
            answer = os.read(self._status, ANSWER.size)
            if answer:
                self._returncode = int(ANSWER.unpack(answer)[1])
            else:
                self._wait_for_orphan()
        return self._returncode

    def kill(self) -> int:
        if self._returncode is not None:
            # The end of the worker is reported when no process is left below its reaper.
            kill_group(self.pid)
            return self._returncode
        kill_worker(self.pid)
        while (returncode := self.wait(_ORPHAN_S)) is None:
            kill_worker(self.pid)
        return returncode

    def close(self) -> None:
        for descriptor in (self._stdin, self._status, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)

    def _wait_for_orphan(self) -> None:
        """Wait until the kernel has killed a worker whose server has died."""
        kill_worker(self.pid)
        if self._pidfd >= 0:
            select.select([self._pidfd], [], [], _ORPHAN_S)
        self._returncode = -9


def _common_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that do not differ between the trials of a command."""
    return {name: value for name, value in environment.items() if name not in _TRIAL_VARIABLES}
