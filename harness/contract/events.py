"""Events that a worker sends to its supervisor."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from harness.contract.record import DeviceLog, Environment, Status, Usage
from harness.contract.run import Counters, Point


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One line of the worker's pipe."""


class Ready(Event, frozen=True, kw_only=True, tag="ready"):
    """The workload, model and submission stand; `resumed_from` is the number of steps in the checkpoint."""

    environment: Environment
    usage: Usage
    points: tuple[Point, ...] = ()
    resumed_from: int | None = None


class ClockEdge(Event, frozen=True, kw_only=True, tag="clock"):
    """The clock started (`running`) or stopped, with its readings."""

    running: bool
    seconds: float
    process_seconds: float


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluated"):
    """A new point."""

    point: Point


class Watched(Event, frozen=True, kw_only=True, tag="watched"):
    """The GPUs of the run (at first), and new readings of them; the supervisor's own, no worker sends it."""

    log: DeviceLog


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """Something a user should know."""

    message: str


class Done(Event, frozen=True, kw_only=True, tag="done"):
    """The run is over."""

    status: Status
    reason: str = ""
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}


#: What a worker may send.
WorkerEvent: TypeAlias = Ready | ClockEdge | Evaluated | Warned | Done
AnyEvent: TypeAlias = WorkerEvent | Watched
