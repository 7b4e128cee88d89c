"""The worker's connection to the evaluator: the worker hands over weights and receives decisions."""

from __future__ import annotations

import socket
from typing import TypeVar

from torch import nn

from harness.contract.forking import EVALUATOR_ENDED
from harness.contract.record import Screening
from harness.contract.run import Point
from harness.errors import BenchError
from harness.worker.assessment import Assessment
from harness.worker.evaluator_channel import AssessmentRequest, Channel, Decided, Resume, Resumed, Save, Saved
from harness.worker.position import Position
from harness.worker.shared_weights import SharedWeights

A = TypeVar("A", Resumed, Decided, Saved)


class RemoteAssessor:
    """Lets the evaluator process evaluate the weights of a run. The metrics stay in that process.

    Args:
        connection: socket to the evaluator.
        model: the run's model as the workload built it.

    Raises:
        BenchError: the evaluator has ended.
    """

    screening: Screening | None = None

    def __init__(self, connection: socket.socket, model: nn.Module) -> None:
        self._channel = Channel(connection)
        self._awaits_first_answer = False
        try:
            self._weights = SharedWeights(model, self._channel.receive_descriptor())
        except EOFError:
            raise _ended() from None

    def assess(self, model: nn.Module, pending: Point, position: Position) -> Assessment:
        self._weights.write(model)
        answer = self._ask(AssessmentRequest(point=pending), Decided)
        return Assessment(point=pending, verdict=answer.verdict, stage_over=answer.stage_over)

    def take_warnings(self) -> list[str]:
        return []

    def save_final_weights(self, model: nn.Module) -> str:
        return ""  # the evaluator saves the final weights

    def save(self, position: Position) -> None:
        self._ask(Save(), Saved)

    def restore(self, position: Position) -> Position | None:
        if position.points:
            return position if self._ask(Resume(points=len(position.points)), Resumed).ready else None
        # A new run has nothing to restore, and the evaluator may still be evaluating the untrained model. To avoid
        # waiting for it, the worker reads the answer to this message only when it needs the next answer.
        self._send(Resume(points=0))
        self._awaits_first_answer = True
        return position

    def _ask(self, message: Resume | AssessmentRequest | Save, kind: type[A]) -> A:
        self._send(message)
        if self._awaits_first_answer:
            self._awaits_first_answer = False
            self._receive(Resumed)
        return self._receive(kind)

    def _send(self, message: Resume | AssessmentRequest | Save) -> None:
        try:
            self._channel.send(message)
        except EOFError:
            raise _ended() from None

    def _receive(self, kind: type[A]) -> A:
        try:
            return self._channel.receive(kind)
        except EOFError:
            raise _ended() from None


def _ended() -> BenchError:
    return BenchError(EVALUATOR_ENDED, fix="read worker.log, and run the command again")
