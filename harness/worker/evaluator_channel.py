"""The messages between a worker and its evaluator, and the socket over which they are sent.

The worker sends requests and receives decisions. It never receives a metric of the score split. All messages are plain
data, so reading a message cannot execute code.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, TypeAlias, TypeVar

import msgspec

from harness.contract.forking import LENGTH
from harness.contract.run import Point
from harness.planning.run_end import Verdict

#: Largest length of a message in bytes.
_LARGEST = 1 << 20

M = TypeVar("M")


class ChannelMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base class of the messages."""


class Resume(ChannelMessage, frozen=True, kw_only=True, tag="resume"):
    """The worker begins or resumes its run after `points` evaluations (0 in a new run). The answer is `Resumed`."""

    points: int


class AssessmentRequest(ChannelMessage, frozen=True, kw_only=True, tag="assessment-request"):
    """The shared memory holds weights to evaluate. The answer is `Decided`.

    Args:
        point: the evaluation without its metrics.
    """

    point: Point


class Save(ChannelMessage, frozen=True, kw_only=True, tag="save"):
    """The worker has written a checkpoint and is about to commit it. The answer is `Saved`."""


class Resumed(ChannelMessage, frozen=True, kw_only=True, tag="resumed"):
    """Whether the evaluator has the results of the evaluations before the checkpoint."""

    ready: bool


class Decided(ChannelMessage, frozen=True, kw_only=True, tag="decided"):
    """The decisions after an evaluation.

    Args:
        verdict: the decision to end the run; None if the run continues.
        stage_over: whether the stream advances to its next stage.
    """

    verdict: Verdict | None
    stage_over: bool


class Saved(ChannelMessage, frozen=True, kw_only=True, tag="saved"):
    """The evaluator has stored its state."""


WorkerMessage: TypeAlias = Resume | AssessmentRequest | Save
EvaluatorMessage: TypeAlias = Resumed | Decided | Saved


class Channel:
    """One end of the socket between a worker and its evaluator.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, message: WorkerMessage | EvaluatorMessage) -> None:
        """Send a message.

        Raises:
            EOFError: the other process has ended.
        """
        payload = msgspec.msgpack.encode(message)
        try:
            self._socket.sendall(LENGTH.pack(len(payload)) + payload)
        except OSError as error:
            raise EOFError from error

    def receive_request(self) -> WorkerMessage:
        """Return the next message of the worker; see `receive`."""
        request: WorkerMessage = self._receive_any(WorkerMessage)
        return request

    def receive(self, kind: type[M]) -> M:
        """Return the next message.

        Args:
            kind: the type that is accepted.

        Raises:
            EOFError: the other process has ended.
            ValueError: the message is too long or not of this kind.
        """
        message: M = self._receive_any(kind)
        return message

    def _receive_any(self, kind: Any) -> Any:
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > _LARGEST:
            raise ValueError(f"a message has {length} bytes")
        try:
            return msgspec.msgpack.decode(self._read(length), type=kind)
        except msgspec.DecodeError as error:
            raise ValueError(f"invalid message: {error}") from error

    def send_descriptor(self, descriptor: int) -> None:
        """Send a file descriptor, unless the other process has ended."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._socket, [b"d"], [descriptor])

    def receive_descriptor(self) -> int:
        """Return the file descriptor that the other process sent.

        Raises:
            EOFError: the other process has ended.
        """
        with contextlib.suppress(OSError):
            _, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
            if descriptors:
                os.set_inheritable(descriptors[0], False)
                return descriptors[0]
        raise EOFError

    def _read(self, length: int) -> bytes:
        payload = bytearray()
        while len(payload) < length:
            try:
                chunk = self._socket.recv(length - len(payload))
            except OSError as error:
                raise EOFError from error
            if not chunk:
                raise EOFError
            payload += chunk
        return bytes(payload)
