"""The fork server: a process that has imported torch and forks a worker for every trial that a supervisor requests.

usage: python -m harness.worker.fork_server SOCKET_FD      (started by the supervisor)

A forked worker starts in milliseconds, where a fresh one imports torch for seconds. The server imports no plugin, so a
worker inherits nothing of another trial. `harness.contract.forking` defines the messages.
"""

from __future__ import annotations

# This import comes first, so that the clock binds its time functions before a plugin can replace them.
import harness.worker.clock  # noqa: F401  # isort: skip

import contextlib
import gc
import importlib
import os
import select
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec

from harness.contract.forking import ANSWER, DESCRIPTORS, ENDED, FAILED, LENGTH, STARTED, AnswerKind, ForkRequest
from harness.contract.run import Job
from harness.worker.emit import Emit
from harness.worker.process import die_with_parent, run_worker

#: Seconds without a worker and without a request after which the server ends, since it holds some hundred megabytes.
IDLE_S = 60.0


def main(run_job: Callable[[Job, Emit], None] | None = None, preload: Callable[[], None] | None = None) -> None:
    """Fork workers until the supervisor closes the socket; in a forked worker, run its job.

    Args:
        run_job: runs a job in a worker; `harness.worker.job.run_job` if None.
        preload: prepares this process; `preload_worker` if None.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    (preload or preload_worker)()
    _require_one_thread()
    # A collection in a worker then skips these objects, and does not copy the pages that hold them.
    gc.collect()
    gc.freeze()
    worker = _WorkerForker(control).serve()
    run_worker(worker.events, worker.lock, worker.request.cores, run_job)


def preload_worker() -> None:
    """Import what every worker imports, and run one optimizer step, which imports more of torch."""
    import torch

    torch.set_num_threads(1)
    from harness.worker import checkpoint, setup, weights
    from harness.worker.rules import load_rule, rule_names

    setup.import_optimizer_early()
    for name in rule_names():
        load_rule(name)
    for module in ("harness.api", "harness.contract.hookspecs", "numpy.ma", "numpy.ctypeslib"):
        importlib.import_module(module)
    metadata.version("torch")
    with tempfile.TemporaryDirectory() as name:
        # The first checkpoint and the first weights import modules of torch.
        folder = Path(name)
        checkpoint.save(folder, {"tensor": torch.zeros(1)})
        checkpoint.load(folder)
        weights.save_weights(torch.nn.BatchNorm1d(1), folder / "weights")


def _require_one_thread() -> None:
    """End this process if it has more than one thread: only the forking thread would exist in a worker."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"the fork server has {threads} threads; a process with several cannot be forked safely")


@dataclass(frozen=True, kw_only=True)
class ForkedWorker:
    """What a forked worker is given: its request, and the file descriptors of its pipe of events and its lock."""

    request: ForkRequest
    events: int
    lock: int


@dataclass(frozen=True, kw_only=True)
class _RunningWorker:
    """A running worker: its process id, and the writing end of its status pipe."""

    pid: int
    status: int


class _WorkerForker:
    """Forks workers from its only thread, so that the kernel kills them when this process ends.

    Args:
        control: socket on which requests arrive.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        #: The running workers by the descriptor that refers to their process.
        self._children: dict[int, _RunningWorker] = {}

    def serve(self) -> ForkedWorker:
        """Answer requests until the supervisor closes the socket. It returns only in a forked worker."""
        while True:
            ready = self._poll.poll(None if self._children else IDLE_S * 1000)
            if not ready:
                os._exit(0)
            for descriptor, _ in ready:
                if descriptor != self._control.fileno():
                    self._reap(descriptor)
                    continue
                worker = self._answer()
                if worker is not None:
                    return worker

    def _answer(self) -> ForkedWorker | None:
        """Fork a worker for the next request; return what it is given in the worker, and None in the server."""
        message = _receive(self._control)
        if message is None:
            os._exit(0)  # the supervisor has ended, and the kernel kills the workers
        request, descriptors = message
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            send_answer(descriptors["status"], FAILED, error.errno or 0)
        else:
            if not pid:
                self._leave()
                become_worker(request, descriptors, server)
                return ForkedWorker(request=request, events=descriptors["events"], lock=descriptors["lock"])
            process = os.pidfd_open(pid)
            self._children[process] = _RunningWorker(pid=pid, status=os.dup(descriptors["status"]))
            self._poll.register(process, select.POLLIN)
        for descriptor in descriptors.values():
            os.close(descriptor)
        return None

    def _reap(self, process: int) -> None:
        """Report the exit code of a worker that has ended."""
        child = self._children.pop(process)
        _, status = os.waitpid(child.pid, 0)
        self._poll.unregister(process)
        os.close(process)
        send_answer(child.status, ENDED, os.waitstatus_to_exitcode(status))
        os.close(child.status)

    def _leave(self) -> None:
        """Close, in a worker, the server's socket and the descriptors of the other workers."""
        self._control.close()
        for process, child in self._children.items():
            os.close(process)
            os.close(child.status)


def become_worker(request: ForkRequest, descriptors: dict[str, int], server: int) -> None:
    """Turn this forked process into the worker that a fresh process would be, and report its process id.

    Args:
        request: the worker's environment.
        descriptors: the descriptors of the request by name.
        server: process id of the fork server.
    """
    # A session of its own: the supervisor ends a worker with its children, and Ctrl-C does not reach it.
    os.setsid()
    die_with_parent()
    if os.getppid() != server:  # the server died before the line above
        os._exit(1)
    os.environ.clear()
    os.environ.update(request.environment)
    tempfile.tempdir = None  # the folder that the server's environment gave
    importlib.invalidate_caches()
    for target, name in enumerate(("stdin", "log", "log")):
        os.dup2(descriptors[name], target)
    os.chdir(request.folder)
    os.close(descriptors["stdin"])
    os.close(descriptors["log"])
    send_answer(descriptors["status"], STARTED, os.getpid())
    os.close(descriptors["status"])


def _receive(control: socket.socket) -> tuple[ForkRequest, dict[str, int]] | None:
    """Return the next request and its descriptors, or None at the end of the stream."""
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    header, received, _, _ = socket.recv_fds(control, LENGTH.size, len(DESCRIPTORS), flags)
    payload = bytearray()
    length = LENGTH.unpack(header)[0] if len(header) == LENGTH.size else 0
    while len(payload) < length:
        chunk = control.recv(length - len(payload))
        if not chunk:
            return None
        payload += chunk
    if not length or len(received) != len(DESCRIPTORS):
        return None
    return msgspec.json.decode(payload, type=ForkRequest), dict(zip(DESCRIPTORS, received, strict=True))


def send_answer(status: int, kind: AnswerKind, number: int) -> None:
    """Write an answer to a status pipe, unless the supervisor no longer reads it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(status, ANSWER.pack(kind, number))


if __name__ == "__main__":
    main()
