"""Read the events of a trial's processes from their pipes in a separate thread."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections import deque
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
    WorkerEvent,
)
from harness.execution.meter import Meter
from harness.hardware.telemetry import DeviceWatch

#: Poll interval for events, in seconds.
WAKE_S = 0.2
#: If the thread wakes up later than planned by more than this number of seconds, the events that it then reads arrived
#: at unknown times. Their arrival times are not used.
LATE_S = 0.5
#: If the thread waits for less than this number of seconds, the events may have arrived before.
_NO_WAIT_S = 0.0005


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
    """A thread that reads events from pipes as they arrive and passes each of the worker's events to `meter`.

    Events are read in a separate thread, so that a slow watcher, such as a display, does not delay the measurement.

    If the trial has an evaluator, an evaluation of the worker is a claim, which says only that the worker has ended the
    evaluation. The evaluator's result is passed on in its place. A claim without a result is ignored.

    Args:
        descriptor: file descriptor of the reading end of the worker's pipe.
        meter: the supervisor's measurement of the worker.
        evaluator: file descriptor of the reading end of the evaluator's pipe; None if the worker evaluates its weights.
    """

    def __init__(self, descriptor: int, meter: Meter, evaluator: int | None = None) -> None:
        super().__init__(name="events", daemon=True)
        worker_decoder, evaluator_decoder = msgspec.json.Decoder(WorkerEvent), msgspec.json.Decoder(EvaluatorEvent)
        self._worker = _EventPipe(descriptor, partial(decode_event, worker_decoder))
        self._evaluator: _EventPipe | None = None
        if evaluator is not None:
            self._evaluator = _EventPipe(evaluator, partial(_decode_evaluator_event, evaluator_decoder))
        self._meter = meter
        #: The evaluator's results whose claims have not arrived.
        self._results: deque[Evaluated] = deque()
        #: GPU sampler that is also notified of the edges of the clock; None without GPUs.
        self.watch: DeviceWatch | None = None
        #: The events in order; None if the pipe ended without a last event.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        last_wake_up, latest_wait = time.monotonic(), time.perf_counter()
        while not self._worker.ended:
            asked = time.perf_counter()
            open_pipes = [p.descriptor for p in (self._worker, self._evaluator) if p is not None and not p.ended]
            ready = select.select(open_pipes, [], [], WAKE_S)[0]
            # If this process was suspended or got no CPU time, the events read now arrived at an unknown earlier time.
            is_late, last_wake_up = time.monotonic() - last_wake_up > WAKE_S + LATE_S, time.monotonic()
            if is_late:
                self._meter.discard_interval()
            if not ready:
                self._meter.poll()
                latest_wait = time.perf_counter()
                continue
            # If there was no wait, the events may have arrived while earlier ones were measured.
            if time.perf_counter() - asked > _NO_WAIT_S:
                latest_wait = time.perf_counter()
            if self._forward(latest_wait, is_late):
                return
        self._meter.end()
        self.events.put(None)

    def _forward(self, since: float, is_late: bool) -> bool:
        """Read and pass on all events in the pipes. Return whether the last event was among them.

        Worker and evaluator alternate. What one of them wrote before it passed the turn can therefore be read as soon
        as an event of the other one can be read. So the evaluator's events are read again after those of the worker.
        """
        results = [] if self._evaluator is None else self._evaluator.read()
        claims = self._worker.read()
        results += [] if self._evaluator is None else self._evaluator.read()
        for event in results:
            if isinstance(event, Evaluated):
                self._results.append(event)
            else:
                self.events.put(event)
                if is_last_event(event):
                    return True
        for event in claims:
            if isinstance(event, Evaluated) and self._evaluator is not None and not self._results:
                continue
            self._meter.observe(event, since=since, late=is_late)
            if isinstance(event, ClockChanged) and self.watch is not None and not is_late:
                self.watch.record_edge(event)
            if is_last_event(event):
                # Do not wait for the end of the pipe: a process that the worker started may hold it open.
                for result in (*self._results, event):
                    self.events.put(result)
                return True
            is_claim = isinstance(event, Evaluated) and self._evaluator is not None
            self.events.put(self._results.popleft() if is_claim else event)
        return False


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
