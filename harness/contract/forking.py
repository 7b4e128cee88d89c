"""The messages between a supervisor and its fork server (see `harness.worker.fork_server`).

The supervisor sends one request for each worker or evaluator over a Unix socket. In this module, a process is one of
these. A request consists of the length of a message in 8 bytes, and of the message. The file descriptors of
`DESCRIPTORS` are sent with the length. The server answers on the status pipe of the process.
"""

from __future__ import annotations

import struct
from typing import Literal

from harness.contract.base import Data
from harness.contract.run import RunSpec

#: The file descriptors that are attached to a request, in this order. `stdin`: reading end of the pipe for the standard
#: input of the process. `log`: its log file. `events`: writing end of the event pipe. `lock`: lock of the run's folder.
#: `status`: writing end of the status pipe. `peer`: socket between worker and evaluator; it is missing if the worker
#: evaluates its weights itself.
DESCRIPTORS = ("stdin", "log", "events", "lock", "status", "peer")
#: What a process of a trial does: it trains (`worker`), or it evaluates the weights of the worker (`evaluator`).
Role = Literal["worker", "evaluator"]
#: The reason that a worker gives if it ends because its evaluator has ended. The supervisor replaces it with the reason
#: of the evaluator.
EVALUATOR_ENDED = "the evaluator of this trial has ended"
#: The format of the length of a message: an unsigned integer of 8 bytes.
LENGTH = struct.Struct("=Q")
#: The format of an answer: its kind and a number. An answer is short enough to be written to a pipe atomically.
ANSWER = struct.Struct("=cq")
#: The kind of an answer. It determines the meaning of the number. `STARTED`: process id of the new process. `ENDED`:
#: exit code of the process; a negative code is the number of the signal that killed it. `FAILED`: number of the system
#: error that prevented the fork.
AnswerKind = Literal[b"s", b"e", b"f"]
STARTED: AnswerKind = b"s"
ENDED: AnswerKind = b"e"
FAILED: AnswerKind = b"f"


class ForkRequest(Data, frozen=True, kw_only=True):
    """A request to fork a worker or an evaluator.

    Args:
        environment: all environment variables of the process.
        folder: working directory of the process.
        cores: indices of the processor cores to which the process is pinned. If empty, it is not pinned.
        role: what the process does, see `Role`.
        evaluated: for an evaluator, the trial whose weights it evaluates. The evaluator may be forked from a template
            of this trial's workload (see `harness.worker.templates`). None for a worker.
    """

    environment: dict[str, str]
    folder: str
    cores: tuple[int, ...] = ()
    role: Role = "worker"
    evaluated: RunSpec | None = None
