"""Start workers from a fork server, a process that has imported torch (see `harness.worker.fork_server`).

Servers belong to this process and not to a call of an executor, since a gate runs every pair in a call of its own. A
server ends with this process, and after some idle time.
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
from typing import ClassVar

import msgspec

from harness.contract.forking import ANSWER, FAILED, LENGTH, STARTED, ForkRequest
from harness.contract.run import RunSpec
from harness.execution.launching import FreshLauncher, LaunchedWorker, WorkerStart, kill_session
from harness.system import python_process

#: The command that starts a fork server.
SERVER = python_process.command("harness.worker.fork_server")
#: Maximum seconds until a server has forked a worker; the first request also waits for the server's imports.
FORK_S = 300.0
#: Poll interval for a stopped trial while a worker is forked, in seconds.
_WAKE_S = 0.2
#: Seconds to wait for the end of a worker whose server died, which the kernel kills.
_ORPHAN_S = 10.0
#: Variables that differ between the trials of a command. Nothing that the server imports reads them.
_TRIAL_VARIABLES = frozenset({"HOME", "TMPDIR", "XDG_CACHE_HOME"})
#: Without a visible GPU, torch starts no thread per GPU, so that the server can be forked.
_NO_GPUS = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


def can_fork(spec: RunSpec) -> bool:
    """Return whether a worker of this trial can be forked: on Linux, on one thread of the CPU, without a compiler."""
    return (
        sys.platform == "linux"
        and hasattr(os, "pidfd_open")
        and (spec.device, spec.ranks, spec.threads) == ("cpu", 1, 1)
        and not spec.workload.facts.precision.compile
        and not spec.profile
    )


class ForkError(Exception):
    """No worker could be forked. The message is a clause that says why."""


class WarmLauncher:
    """Forks workers, and starts fresh workers after a fork server failed."""

    def __init__(self) -> None:
        self._fresh = FreshLauncher()
        self._failed = False

    def launch(self, start: WorkerStart) -> LaunchedWorker:
        """See `Launcher.launch`."""
        if not self._failed:
            try:
                return fork_worker(start)
            except ForkError as error:
                self._failed = True
                start.warn(f"no worker can be forked: {error}; workers start afresh, which takes longer")
        return self._fresh.launch(start)


def fork_worker(start: WorkerStart) -> LaunchedWorker:
    """Fork a worker from a server of this process, which is started if there is none.

    Raises:
        ForkError: a newly started server has ended, or a server cannot fork.
        KeyboardInterrupt: the trial was stopped.
    """
    while True:
        server, is_new = ForkServer.shared(start.environment)
        try:
            return server.fork(start)
        except ForkError:
            # A server that has ended since the last trial, for example for lack of work, is replaced.
            if is_new or server.is_running():
                raise


class ForkServer:
    """A running fork server.

    Args:
        environment: environment variables of the workers; those that differ between trials have no effect.

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
        """Return a server of this process for workers with this environment, and whether it was started now."""
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
        """End the servers of this process and their workers."""
        with cls._lock:
            for server in cls._servers:
                server.close()
            cls._servers.clear()

    def is_running(self) -> bool:
        """Return whether the server has not ended and belongs to this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def _serves(self, environment: Mapping[str, str]) -> bool:
        return (self._command, self._environment) == (tuple(SERVER), _common_variables(environment))

    def fork(self, start: WorkerStart) -> LaunchedWorker:
        """Fork a worker.

        Raises:
            ForkError: the server does not fork it.
            KeyboardInterrupt: the trial was stopped.
        """
        try:
            folder = os.getcwd()
        except OSError as error:
            raise ForkError(f"the current folder is gone ({error.strerror})") from error
        request = ForkRequest(environment=start.environment, folder=folder, cores=start.cores)
        status, status_end = os.pipe()
        stdin_end, stdin = os.pipe()
        try:
            self._send(msgspec.json.encode(request), [stdin_end, start.log, start.events, start.lock, status_end])
        except OSError as error:
            os.close(status)
            os.close(stdin)
            raise self._end_error() from error
        finally:
            os.close(status_end)
            os.close(stdin_end)
        try:
            return self._await(status, stdin, start)
        except BaseException:
            os.close(status)
            os.close(stdin)  # a worker that is forked nevertheless reads the end of its input and ends
            raise

    def close(self) -> None:
        """End the server. The kernel kills its workers."""
        with self._send_lock:
            self._control.close()
        self._log.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()

    def _send(self, payload: bytes, descriptors: list[int]) -> None:
        with self._send_lock:
            socket.send_fds(self._control, [LENGTH.pack(len(payload))], descriptors, socket.MSG_NOSIGNAL)
            self._control.sendall(payload, socket.MSG_NOSIGNAL)

    def _await(self, status: int, stdin: int, start: WorkerStart) -> LaunchedWorker:
        """Return the worker when it has started."""
        deadline = time.monotonic() + FORK_S
        while not select.select([status], [], [], _WAKE_S)[0]:
            if start.stop.is_set:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise ForkError(f"the fork server did not answer for {FORK_S:.0f} s")
        answer = os.read(status, ANSWER.size)
        if not answer:
            raise self._end_error()
        kind, number = ANSWER.unpack(answer)
        if kind == STARTED:
            return _ForkedWorker(number, status, stdin)
        raise ForkError(os.strerror(number) if kind == FAILED else f"it ended at once with code {number}")

    def _end_error(self) -> ForkError:
        """Return the error for a server that has ended, with the last line of its output."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        last_line = self._last_line()
        return ForkError(f"the fork server has ended{f' ({last_line})' if last_line else ''}")

    def _last_line(self) -> str:
        """Return the last line of the server's output, which says why it ended."""
        with contextlib.suppress(OSError, ValueError):
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else ""
        return ""


class _ForkedWorker:
    """A worker that a fork server forked.

    Args:
        pid: process id of the worker.
        status: reading end of the worker's status pipe, on which the server reports the exit code.
        stdin: writing end of the worker's standard input.
    """

    forked = True

    def __init__(self, pid: int, status: int, stdin: int) -> None:
        self.pid = pid
        self._status = status
        self._stdin = stdin
        self._returncode: int | None = None
        try:
            self._process = os.pidfd_open(pid)
        except OSError:  # the worker has ended and was reaped
            self._process = -1

    def send(self, line: bytes) -> None:
        rest = memoryview(line)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._stdin, rest) :]

    def wait(self, timeout: float) -> int | None:
        if self._returncode is None and select.select([self._status], [], [], timeout)[0]:
            answer = os.read(self._status, ANSWER.size)
            if answer:
                self._returncode = int(ANSWER.unpack(answer)[1])
            else:
                self._wait_for_orphan()
        return self._returncode

    def kill(self) -> int:
        kill_session(self.pid)
        while (returncode := self.wait(_ORPHAN_S)) is None:
            kill_session(self.pid)
        return returncode

    def close(self) -> None:
        for descriptor in (self._stdin, self._status, self._process):
            if descriptor >= 0:
                os.close(descriptor)

    def _wait_for_orphan(self) -> None:
        """Wait for the end of the worker after its server died, when the kernel kills it."""
        kill_session(self.pid)
        if self._process >= 0:
            select.select([self._process], [], [], _ORPHAN_S)
        self._returncode = -9


def _common_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _TRIAL_VARIABLES}
