"""Templates: processes from which evaluators are forked. A template has evaluated a model of its workload once.

A template imports the workload, reads its held-out data, and runs the first passes of a model. These steps take longer
than the evaluations of a short run. An evaluator that is forked from a template inherits the imported modules and the
data that they cache, and builds its own workload and model.

A template imports no submission and receives no weights. No evaluator can change the template, because an evaluator is
a child process and ends after one trial.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from harness.contract.forking import DESCRIPTORS, LENGTH, ForkRequest
from harness.contract.run import RunSpec
from harness.worker.reaper import set_parent_death_signal

#: The message that a template sends when it can fork evaluators.
READY = b"r"
#: A template is made for a workload if two of its trials start within this number of seconds. If more time passes
#: between them, the runs are long, and a template would save only a small part of their time.
_REPEATED_WITHIN_S = 60.0
#: Largest number of templates. Each of them holds the held-out data of a workload.
_MAX_TEMPLATES = 4


@dataclass(kw_only=True)
class _Template:
    """A running template.

    Args:
        pid: its process id.
        control: the socket over which requests are forwarded to it.
        ready: whether it can fork evaluators.
    """

    pid: int
    control: socket.socket
    ready: bool = False


class Templates:
    """The templates of a fork server, by workload."""

    def __init__(self) -> None:
        self._templates: dict[bytes, _Template] = {}
        self._failed: set[bytes] = set()
        #: The time of the last request by workload, by `time.monotonic`.
        self._requested: dict[bytes, float] = {}

    def forward(self, request: ForkRequest, descriptors: Mapping[str, int]) -> bool:
        """Forward a request to the template of its workload, if one is ready. Return whether the request was forwarded.

        Args:
            request: the request.
            descriptors: the request's file descriptors by name.
        """
        if request.evaluated is None:
            return False
        key = _workload_key(request.evaluated)
        template = self._templates.get(key)
        if template is None or not self._is_ready(key, template):
            return False
        payload = msgspec.json.encode(request)
        ordered = [descriptors[name] for name in DESCRIPTORS if name in descriptors]
        try:
            socket.send_fds(template.control, [LENGTH.pack(len(payload))], ordered, socket.MSG_NOSIGNAL)
            template.control.sendall(payload, socket.MSG_NOSIGNAL)
        except OSError:  # the template was idle for too long, and has ended
            self._forget(key)
            return False
        return True

    def fork_if_repeated(self, spec: RunSpec) -> socket.socket | None:
        """Fork a template, if the workload of a trial was evaluated shortly before.

        A template for a single trial would save no time.

        Returns:
            In the forked template, its socket; in the server, None.
        """
        key = _workload_key(spec)
        now = time.monotonic()
        is_repeated = now - self._requested.get(key, -math.inf) <= _REPEATED_WITHIN_S
        self._requested[key] = now
        if not is_repeated or key in self._templates or key in self._failed or len(self._templates) >= _MAX_TEMPLATES:
            return None
        control, remote = socket.socketpair()
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            control.close()
            remote.close()
            return None
        if pid:
            remote.close()
            self._templates[key] = _Template(pid=pid, control=control)
            return None
        set_parent_death_signal()
        if os.getppid() != server:  # the server has died before the signal was requested
            os._exit(1)
        control.close()
        return remote

    def warm(self, spec: RunSpec, control: socket.socket) -> None:
        """Evaluate a model of a workload in this process, which is a template. An error ends this process.

        The evaluators of the workload are then forked from the server, and report the error.

        Args:
            spec: a trial on the workload.
            control: the template's socket.
        """
        try:
            from harness.worker.evaluator_process import forbid_debugging, warm_evaluation

            forbid_debugging()
            warm_evaluation(spec)
        except BaseException:
            os._exit(1)

    def close(self) -> None:
        """Close the sockets of all templates."""
        for template in self._templates.values():
            template.control.close()

    def _is_ready(self, key: bytes, template: _Template) -> bool:
        """Return whether a template can fork evaluators. Remove a template that has ended."""
        if not template.ready and select.select([template.control], [], [], 0)[0]:
            template.ready = template.control.recv(len(READY)) == READY
            if not template.ready:
                self._failed.add(key)
                self._forget(key)
        return template.ready

    def _forget(self, key: bytes) -> None:
        template = self._templates.pop(key)
        template.control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(template.pid, 0)


def _workload_key(spec: RunSpec) -> bytes:
    """Return a key that is equal for all trials whose evaluators may be forked from the same template."""
    return msgspec.json.encode((spec.workload, spec.submission.model_options, spec.device), order="sorted")
