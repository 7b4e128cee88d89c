"""Events that a worker sends to its supervisor."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from harness.contract.record import DeviceLog, Environment, Status, Usage
from harness.contract.run import Counters, Point


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One line of the pipe from worker to supervisor."""


class Ready(Event, frozen=True, kw_only=True, tag="ready"):
    """Workload, model and submission are built; `resumed_from` is the step of the checkpoint, None in a new run."""

    environment: Environment
    usage: Usage
    points: tuple[Point, ...] = ()
    resumed_from: int | None = None


class ClockEdge(Event, frozen=True, kw_only=True, tag="clock"):
    """The clock started (`running`) or stopped, with its readings in seconds."""

    running: bool
    seconds: float
    process_seconds: float


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluated"):
    """The run was evaluated."""

    point: Point


class Watched(Event, frozen=True, kw_only=True, tag="watched"):
    """The GPUs of the run and new samples of their state; made by the supervisor, never sent by a worker."""

    log: DeviceLog


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """A warning for the user."""

    message: str


class Done(Event, frozen=True, kw_only=True, tag="done"):
    """The run has ended."""

    status: Status
    reason: str = ""
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}


#: The events that a worker may send.
WorkerEvent: TypeAlias = Ready | ClockEdge | Evaluated | Warned | Done
AnyEvent: TypeAlias = WorkerEvent | Watched
