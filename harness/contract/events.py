"""The events of a run. The worker and the evaluator send them to their supervisor as lines of text.

The worker is the process that trains one trial. The evaluator is a second process, which evaluates the weights. In runs
without an evaluator, the worker evaluates them. The supervisor starts and monitors both processes.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from harness.contract.judging import Judgement, Trust
from harness.contract.record import DeviceLog, Environment, Phase, Screening, Status, Usage
from harness.contract.run import Counters, Point


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base class of the events. An event is one line of JSON, and its field `event` contains the tag of its class."""


class Confined(Event, frozen=True, kw_only=True, tag="confined"):
    """The worker has entered its sandbox, and has not imported the submission yet. This is a worker's first event.

    Args:
        sandbox: name of the sandbox, for the record.
        opening_seconds: wall seconds in which the worker opened or generated the data of the workload.
    """

    sandbox: str
    opening_seconds: float = 0.0


class Ready(Event, frozen=True, kw_only=True, tag="ready"):
    """The workload, the model and the submission are built.

    Args:
        environment: the machine and the software of the worker.
        usage: the resources used so far.
        points: the evaluations restored from the checkpoint; empty in a new run.
        resumed_from: number of updates in the checkpoint; None in a new run.
    """

    environment: Environment
    usage: Usage
    points: tuple[Point, ...] = ()
    resumed_from: int | None = None


#: Largest normal duration, in seconds, of the worker's report that the clock has stopped. If the worker waits for a
#: processor or is suspended, the report takes longer. The supervisor's clock runs until the report. The worker
#: therefore adds the duration to its own clock, and reports the stop a second time.
REPORT_S = 1e-4


class ClockChanged(Event, frozen=True, kw_only=True, tag="clock"):
    """The clock started or stopped. If two stops follow each other without a start, the second corrects the seconds.

    Args:
        running: whether the clock runs after the change.
        seconds: wall seconds on the clock so far.
        process_seconds: processor seconds on the clock so far.
        phase: the phase that begins.
    """

    running: bool
    seconds: float
    process_seconds: float
    phase: Phase = "training"


class PhaseBegan(Event, frozen=True, kw_only=True, tag="phase"):
    """A phase began without a start or stop of the clock."""

    phase: Phase


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluated"):
    """The weights were evaluated. The field `point` contains the result."""

    point: Point


class Restored(Event, frozen=True, kw_only=True, tag="restored"):
    """The evaluator has started, with the evaluations that it restored from its files. In a new run, there are none."""

    points: tuple[Point, ...] = ()


class Judged(Event, frozen=True, kw_only=True, tag="judged"):
    """The evaluator has decided that the run is over. The fields mean the same as in `Done` and `Record`."""

    status: Status
    reason: str = ""
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    final_weights: str = ""
    crossing_weights: str = ""
    screening: Screening | None = None
    judgements: tuple[Judgement, ...] = ()
    trust: Trust = "self-reported"


class EvaluatorFailed(Event, frozen=True, kw_only=True, tag="evaluator-failed"):
    """An error ended the evaluator, and therefore the run."""

    status: Status
    reason: str


class DevicesSampled(Event, frozen=True, kw_only=True, tag="watched"):
    """The supervisor sampled the state of the run's GPUs. Only the supervisor emits this event.

    Args:
        log: the GPUs, and the samples since the previous event of this type.
    """

    log: DeviceLog


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """The run has a warning for the user. The field `message` contains the warning in one line."""

    message: str


class Done(Event, frozen=True, kw_only=True, tag="done"):
    """The run has ended.

    Args:
        status: final status of the run.
        reason: reason for which the run ended, in one sentence.
        hit: index of the first evaluation that met the target, among all evaluations of the run; None for a miss.
        stage_hits: on a stream, one index for each completed stage: the evaluation that ended the stage. Empty on a
            pool.
        counters: the totals at the end.
        usage: the resources used.
        final_weights: SHA-256 of the evaluated weights at the end; empty if they were not saved.
        crossing_weights: SHA-256 of the evaluated weights at the hit; empty for a miss.
        profile: seconds by phase of a step; empty unless `spec.profile` is True.
        screening: counts and times of the evaluations on the split `score`. None if the run failed, or if its
            specification allows no screened evaluations, which use only a part of the split.
    """

    status: Status
    reason: str = ""
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}
    screening: Screening | None = None


#: The events that a worker may send.
WorkerEvent: TypeAlias = Confined | Ready | ClockChanged | PhaseBegan | Evaluated | Warned | Done
#: The events that an evaluator may send.
EvaluatorEvent: TypeAlias = Restored | Evaluated | Warned | Judged | EvaluatorFailed
#: All events, including the events that the supervisor emits.
AnyEvent: TypeAlias = WorkerEvent | EvaluatorEvent | DevicesSampled
