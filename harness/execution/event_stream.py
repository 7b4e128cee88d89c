"""What a trial's watcher is told, from where the trial runs to where its user sits: one line of JSON per call."""

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


_AnyTold: TypeAlias = _Started | _Evaluated | _Warned | _Finished | _Kept


class EventForwarder:
    """The watcher of one trial, far from its user.

    Args:
        identity: the trial's run_id.
        send: passes a line on.
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

    def _forward(self, told: _AnyTold) -> None:
        self._send(self._encoder.encode(told))


class EventReceiver:
    """The other end: the user's watcher is told what the relays sent.

    Args:
        watcher: the user's.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        #: Trials that have said that they stand.
        self.begun: set[str] = set()
        self._specs: dict[str, RunSpec] = {}
        self._steps: dict[str, int] = {}
        self._decoder = msgspec.json.Decoder(_AnyTold)

    def expect(self, identity: str, spec: RunSpec) -> None:
        """Lines about this trial may come."""
        self._specs[identity] = spec

    def steps(self, identity: str) -> int:
        """How far a trial has come, in steps at its last evaluation."""
        return self._steps.get(identity, 0)

    def receive(self, line: bytes) -> None:
        """Tell the watcher; a line that is none (cut off when its writer was killed) is left out."""
        try:
            told = self._decoder.decode(line)
        except msgspec.DecodeError:
            return
        spec = self._specs.get(told.run_id)
        if spec is None:
            return
        match told:
            case _Started():
                self.begun.add(told.run_id)
                self._watcher.started(spec, told.resumed)
            case _Evaluated():
                self._steps[told.run_id] = told.point.steps
                self._watcher.evaluated(spec, told.point)
            case _Warned():
                self._watcher.warned(spec, told.message)
            case _Finished():
                self._watcher.finished(told.record)
            case _Kept():
                found = TrialSummary(
                    run_id=told.run_id, spec=spec, status=told.status, reason=told.reason, kept=True, path=told.path
                )
                self._watcher.kept(found)
