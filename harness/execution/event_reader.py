"""Read the events of a worker and of its evaluator from their pipes in a separate thread."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from functools import partial

import msgspec

from harness.contract.events import (
    AnyEvent,
    ClockChanged,
    Done,
    Evaluated,
    EvaluatorEvent,
    EvaluatorFailed,
    Restored,
    WorkerEvent,
)
from harness.execution.second_clock import SecondClock
from harness.hardware.telemetry import DeviceWatch

#: Poll interval for events, in seconds.
WAKE_S = 0.2
#: If the thread wakes up later than planned by more than this number of seconds, the events that it then reads arrived
#: at unknown times. Their arrival times are not used.
LATE_S = 0.5


class _EventPipe:
    """The reading end of a pipe of events.

    Args:
        descriptor: file descriptor of the reading end.
        decode: function from a line to its event.
    """

    def __init__(self, descriptor: int, decode: Callable[[bytes], AnyEvent]) -> None:
        self.descriptor = descriptor
        #: Whether the writing end was closed and everything was read.
        self.ended = False
        self._decode = decode
        self._incomplete_line = b""

    def read(self) -> list[AnyEvent]:
        """Return the events that were written so far, without waiting."""
        events: list[AnyEvent] = []
        while not self.ended and select.select([self.descriptor], [], [], 0)[0]:
            chunk = os.read(self.descriptor, 65536)
            self.ended = not chunk
            *lines, self._incomplete_line = (self._incomplete_line + chunk).split(b"\n")
            events += map(self._decode, lines)
        return events


class EventReader(threading.Thread):
    """A thread that reads events from pipes as they arrive and passes the edges of the worker's clock to `clock`.

    An edge is a start or a stop of the clock. Events are read in a separate thread, so that a slow watcher, such as a
    display or an observer that uploads, does not delay the measurement.

    If the trial has an evaluator, only the evaluator's evaluations are passed on. They follow the worker's event
    `Ready`, and they precede the worker's event `Done`.

    Args:
        descriptor: file descriptor of the reading end of the worker's pipe.
        clock: the supervisor's measurement of the worker's clock.
        evaluator: file descriptor of the reading end of the evaluator's pipe; None if the worker evaluates its weights.
    """

    def __init__(self, descriptor: int, clock: SecondClock, evaluator: int | None = None) -> None:
        super().__init__(name="events", daemon=True)
        worker_decoder, evaluator_decoder = msgspec.json.Decoder(WorkerEvent), msgspec.json.Decoder(EvaluatorEvent)
        self._worker = _EventPipe(descriptor, partial(decode_event, worker_decoder))
        self._evaluator: _EventPipe | None = None
        if evaluator is not None:
            self._evaluator = _EventPipe(evaluator, partial(_decode_evaluator_event, evaluator_decoder))
        self._clock = clock
        #: GPU sampler that is also notified of the edges; None without GPUs.
        self.watch: DeviceWatch | None = None
        #: The events in order; None if the pipe ended without a last event.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        last_wake_up = time.monotonic()
        while not self._worker.ended:
            open_pipes = [p.descriptor for p in (self._worker, self._evaluator) if p is not None and not p.ended]
            ready = select.select(open_pipes, [], [], WAKE_S)[0]
            # If this process was suspended or got no CPU time, the events read now arrived at an unknown earlier time.
            is_late, last_wake_up = time.monotonic() - last_wake_up > WAKE_S + LATE_S, time.monotonic()
            if is_late:
                self._clock.discard_interval()
            if ready and self._forward(is_late):
                return
        self.events.put(None)

    def _forward(self, is_late: bool) -> bool:
        """Read and pass on all events in the pipes. Return whether the last event was among them.

        Worker and evaluator alternate. What one of them wrote before it passed the turn can therefore be read as soon
        as an event of the other one can be read.
        """
        results = [] if self._evaluator is None else self._evaluator.read()
        claims = self._worker.read()
        if self._evaluator is not None:
            results += self._evaluator.read()
            claims = [event for event in claims if not isinstance(event, Evaluated)]
        for event in claims:
            if isinstance(event, ClockChanged):
                self._record_edge(event, is_late)
        restored = [event for event in results if isinstance(event, Restored)]
        results = [event for event in results if not isinstance(event, Restored)]
        done = [event for event in claims if isinstance(event, Done)]
        for event in (*restored, *(event for event in claims if not isinstance(event, Done)), *results, *done):
            self.events.put(event)
            if is_last_event(event):
                # Do not wait for the end of the pipe: a process that the worker started may hold it open.
                return True
        return False

    def _record_edge(self, event: ClockChanged, is_late: bool) -> None:
        self._clock.record_edge(event)
        if is_late:
            self._clock.discard_interval()
        elif self.watch is not None:
            self.watch.record_edge(event)


def is_last_event(event: AnyEvent) -> bool:
    """Return whether an event ends a run."""
    return isinstance(event, (Done, EvaluatorFailed))


def decode_event(decoder: msgspec.json.Decoder[WorkerEvent], line: bytes) -> AnyEvent:
    """Return the event in a line. For an invalid line, return a `Done` event with the status `crashed`."""
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent an invalid event: {error}")


def _decode_evaluator_event(decoder: msgspec.json.Decoder[EvaluatorEvent], line: bytes) -> AnyEvent:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return EvaluatorFailed(status="crashed", reason=f"the evaluator sent an invalid event: {error}")
