"""The messages between a supervisor and the fork server that forks its workers (see `harness.worker.fork_server`).

The supervisor sends one request per worker over a Unix socket: the length of the message as 8 bytes, with the file
descriptors of `DESCRIPTORS` attached, and then the message. The server answers on the worker's status pipe.
"""

from __future__ import annotations

import struct
from typing import Literal

from harness.contract.base import Data

#: The file descriptors that accompany a request, in this order: reading end of the worker's standard input, its log,
#: writing end of the pipe of events, lock of the run's folder, writing end of the status pipe.
DESCRIPTORS = ("stdin", "log", "events", "lock", "status")
#: The length of a request.
LENGTH = struct.Struct("=Q")
#: An answer: its kind and a number. They are shorter than a pipe's atomic write.
ANSWER = struct.Struct("=cq")
#: `started`: the process id of the worker; `ended`: its exit code, negative for the number of the signal that killed
#: it; `failed`: the number of the system error for which no worker was forked.
AnswerKind = Literal[b"s", b"e", b"f"]
STARTED: AnswerKind = b"s"
ENDED: AnswerKind = b"e"
FAILED: AnswerKind = b"f"


class ForkRequest(Data, frozen=True, kw_only=True):
    """A request to fork a worker.

    Args:
        environment: all environment variables of the worker.
        folder: the worker's current folder.
        cores: indices of the processor cores to which the worker is pinned; it is not pinned when empty.
    """

    environment: dict[str, str]
    folder: str
    cores: tuple[int, ...] = ()
