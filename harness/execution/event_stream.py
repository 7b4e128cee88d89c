"""Forward the calls of a trial's watcher from a node to the user's machine, as one line of JSON per call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from harness.contract.record import Record, Status, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.contract.watcher import Watcher


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="told"):
    run_id: str


class _Started(_Message, frozen=True, kw_only=True, tag="started"):
    resumed: tuple[Point, ...]


class _Evaluated(_Message, frozen=True, kw_only=True, tag="evaluated"):
    point: Point


class _Warned(_Message, frozen=True, kw_only=True, tag="warned"):
    message: str


class _Finished(_Message, frozen=True, kw_only=True, tag="finished"):
    record: Record


class _Kept(_Message, frozen=True, kw_only=True, tag="kept"):
    status: Status
    reason: str
    path: str


_AnyMessage: TypeAlias = _Started | _Evaluated | _Warned | _Finished | _Kept


class EventForwarder:
    """A watcher that runs on the trial's node and sends every call as a line of JSON.

    Args:
        identity: the trial's run_id.
        send: function that delivers a line to the user's machine.
    """

    def __init__(self, identity: str, send: Callable[[bytes], None]) -> None:
        self._identity = identity
        self._send = send
        self._encoder = msgspec.json.Encoder()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._forward(_Started(run_id=self._identity, resumed=resumed))

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._forward(_Evaluated(run_id=self._identity, point=point))

    def warned(self, spec: RunSpec, message: str) -> None:
        self._forward(_Warned(run_id=self._identity, message=message))

    def finished(self, record: Record) -> None:
        self._forward(_Finished(run_id=self._identity, record=record))

    def kept(self, summary: TrialSummary) -> None:
        self._forward(_Kept(run_id=self._identity, status=summary.status, reason=summary.reason, path=summary.path))

    def _forward(self, message: _AnyMessage) -> None:
        self._send(self._encoder.encode(message))


class EventReceiver:
    """Receives the lines of `EventForwarder` on the user's machine and calls the user's watcher for each line.

    Args:
        watcher: the user's watcher.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        #: run_ids of the trials whose worker has reported that it is ready.
        self.begun: set[str] = set()
        self._specs: dict[str, RunSpec] = {}
        self._steps: dict[str, int] = {}
        self._decoder = msgspec.json.Decoder(_AnyMessage)

    def expect(self, identity: str, spec: RunSpec) -> None:
        """Accept lines of this trial from now on."""
        self._specs[identity] = spec

    def steps(self, identity: str) -> int:
        """Return the number of updates of a trial at its last evaluation."""
        return self._steps.get(identity, 0)

    def receive(self, line: bytes) -> None:
        """Call the watcher for a line. An invalid line is ignored: the process that wrote it may have been killed."""
        try:
            message = self._decoder.decode(line)
        except msgspec.DecodeError:
            return
        spec = self._specs.get(message.run_id)
        if spec is None:
            return
        match message:
            case _Started():
                self.begun.add(message.run_id)
                self._watcher.started(spec, message.resumed)
            case _Evaluated():
                self._steps[message.run_id] = message.point.steps
                self._watcher.evaluated(spec, message.point)
            case _Warned():
                self._watcher.warned(spec, message.message)
            case _Finished():
                self._watcher.finished(message.record)
            case _Kept():
                summary = TrialSummary(
                    run_id=message.run_id,
                    spec=spec,
                    status=message.status,
                    reason=message.reason,
                    kept=True,
                    path=message.path,
                )
                self._watcher.kept(summary)
