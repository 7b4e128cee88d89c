"""The fork server, a process that has imported torch. It forks the workers and the evaluators of CPU trials.

usage: python -m harness.worker.fork_server SOCKET_FD      (started by the supervisor)

A forked worker starts within milliseconds. A new Python process needs seconds to import torch. The server imports no
plugin, so a worker inherits nothing from another trial. `harness.contract.forking` defines the messages.
In this module, the word worker includes evaluators.

If a workload is evaluated repeatedly, its evaluators are forked from a template: a process that has evaluated this
workload before (`harness.worker.templates`).
"""

from __future__ import annotations

# This import comes first, so that the clock binds its time functions before a plugin can replace them.
import harness.worker.clock  # noqa: F401  # isort: skip

import gc
import importlib
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec

from harness.contract.forking import DESCRIPTORS, ENDED, FAILED, LENGTH, STARTED, ForkRequest
from harness.contract.run import Job
from harness.system.garbage import collections_paused
from harness.worker.emit import Emit
from harness.worker.process import ProcessDescriptors, run_worker, send_answer
from harness.worker.reaper import set_parent_death_signal
from harness.worker.templates import READY, Templates

#: The server ends after this number of seconds without a worker and without a request. A server uses several hundred
#: megabytes of memory.
IDLE_S = 60.0


def main(run_job: Callable[[Job, Emit], None] | None = None, preload: Callable[[], None] | None = None) -> None:
    """Fork workers until the supervisor closes the socket. In a forked worker, run the worker's job.

    Args:
        run_job: runs a job in a worker; `harness.worker.job.run_job` if None.
        preload: imports modules into this process; `preload_worker` if None.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # see `run_worker`
    control = socket.socket(fileno=int(sys.argv[1]))
    with collections_paused():
        (preload or preload_worker)()
        _require_one_thread()
        # In a worker, the garbage collector then skips these objects, so the worker shares their memory pages.
        gc.freeze()
    worker = WorkerForker(control, Templates()).serve()
    run_worker(worker.descriptors, worker.request.cores, run_job, evaluator=worker.request.role == "evaluator")


def preload_worker() -> None:
    """Import the modules that every worker imports. One optimizer step imports further modules of torch."""
    import torch

    torch.set_num_threads(1)
    from harness.worker import checkpoint, evaluator_process, setup, weights  # noqa: F401 - preloaded
    from harness.worker.rules import load_rule, rule_names

    setup.import_optimizer_early()
    for name in rule_names():
        load_rule(name)
    for module in ("harness.api", "harness.contract.hookspecs", "numpy.ma", "numpy.ctypeslib"):
        importlib.import_module(module)
    metadata.version("torch")
    with tempfile.TemporaryDirectory() as name:
        # Saving the first checkpoint and the first weights file imports further modules of torch.
        folder = Path(name)
        checkpoint.stage(folder, {"tensor": torch.zeros(1)}, "")
        checkpoint.commit(folder)
        checkpoint.load(folder, "")
        weights.save_weights(torch.nn.BatchNorm1d(1), folder / "weights")


def _require_one_thread() -> None:
    """End this process if it has more than one thread."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"the fork server has {threads} threads; a process with several threads cannot be forked safely")


@dataclass(frozen=True, kw_only=True)
class ForkedWorker:
    """A forked worker or evaluator: its request and its file descriptors."""

    request: ForkRequest
    descriptors: ProcessDescriptors


@dataclass(frozen=True, kw_only=True)
class _RunningWorker:
    """A running worker: its process id, and the file descriptor of the writing end of its status pipe."""

    pid: int
    status: int


class WorkerForker:
    """Forks workers, all from the main thread. The kernel kills a worker when the thread that forked it ends.

    Args:
        control: socket on which requests arrive.
        templates: the templates of this server; None in a template.
    """

    def __init__(self, control: socket.socket, templates: Templates | None = None) -> None:
        self._control = control
        self._templates = templates
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        #: The running workers, by the pidfd of their process.
        self._children: dict[int, _RunningWorker] = {}

    def serve(self) -> ForkedWorker:
        """Answer requests until the supervisor closes the socket. This method returns only in a forked worker."""
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
        """Fork a worker for the next request. Return the worker in the forked process, and None in the server."""
        message = receive_request(self._control)
        if message is None:
            os._exit(0)  # the supervisor has ended; the kernel kills the workers
        request, descriptors = message
        if self._templates is not None and self._templates.forward(request, descriptors):
            for descriptor in descriptors.values():
                os.close(descriptor)
            return None
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            send_answer(descriptors["status"], FAILED, error.errno or 0)
        else:
            if not pid:
                self._close_server_descriptors()
                become_worker(request, descriptors, server)
                return ForkedWorker(
                    request=request,
                    descriptors=ProcessDescriptors(
                        events=descriptors["events"],
                        lock=descriptors["lock"],
                        peer=descriptors.get("peer", -1),
                        status=descriptors["status"],
                    ),
                )
            process = os.pidfd_open(pid)
            self._children[process] = _RunningWorker(pid=pid, status=os.dup(descriptors["status"]))
            self._poll.register(process, select.POLLIN)
        for descriptor in descriptors.values():
            os.close(descriptor)
        return self._serve_template(request)

    def _serve_template(self, request: ForkRequest) -> ForkedWorker | None:
        """Make a template if the workload of a request is evaluated repeatedly.

        Returns:
            None in the server. In an evaluator that the template forks: this evaluator.
        """
        if self._templates is None or request.evaluated is None:
            return None
        control = self._templates.fork_if_repeated(request.evaluated)
        if control is None:
            return None
        self._close_server_descriptors()
        with collections_paused():
            self._templates.warm(request.evaluated, control)
            _require_one_thread()
            gc.freeze()
        control.sendall(READY)
        return WorkerForker(control).serve()

    def _reap(self, process: int) -> None:
        """Report the exit code of a worker that has ended."""
        child = self._children.pop(process)
        _, status = os.waitpid(child.pid, 0)
        self._poll.unregister(process)
        os.close(process)
        send_answer(child.status, ENDED, os.waitstatus_to_exitcode(status))
        os.close(child.status)

    def _close_server_descriptors(self) -> None:
        """Close the server's sockets and the descriptors of the other workers. Only a forked process calls this."""
        self._control.close()
        if self._templates is not None:
            self._templates.close()
        for process, child in self._children.items():
            os.close(process)
            os.close(child.status)


def become_worker(request: ForkRequest, descriptors: dict[str, int], server: int) -> None:
    """Give this forked process the environment, folder and descriptors of a new worker, and report its process id.

    Args:
        request: the request for the worker.
        descriptors: the file descriptors of the request, by the names in `DESCRIPTORS`.
        server: process id of the fork server.
    """
    # In a session of its own, the worker gets no Ctrl-C, and the supervisor can kill the worker with its children.
    os.setsid()
    set_parent_death_signal()
    if os.getppid() != server:  # the server has died before the signal was requested
        os._exit(1)
    os.environ.clear()
    os.environ.update(request.environment)
    tempfile.tempdir = None  # this folder was chosen from the server's environment
    importlib.invalidate_caches()
    for target, name in enumerate(("stdin", "log", "log")):
        os.dup2(descriptors[name], target)
    os.chdir(request.folder)
    os.close(descriptors["stdin"])
    os.close(descriptors["log"])
    send_answer(descriptors["status"], STARTED, os.getpid())


def receive_request(control: socket.socket) -> tuple[ForkRequest, dict[str, int]] | None:
    """Return the next request and its file descriptors by name; None if the supervisor has closed the socket."""
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    header, received, _, _ = socket.recv_fds(control, LENGTH.size, len(DESCRIPTORS), flags)
    payload = bytearray()
    length = LENGTH.unpack(header)[0] if len(header) == LENGTH.size else 0
    while len(payload) < length:
        chunk = control.recv(length - len(payload))
        if not chunk:
            return None
        payload += chunk
    if not length or len(DESCRIPTORS) - len(received) not in (0, 1):  # the last descriptor, `peer`, may be missing
        return None
    return msgspec.json.decode(payload, type=ForkRequest), dict(zip(DESCRIPTORS, received, strict=False))


if __name__ == "__main__":
    main()
