"""Read the events of a trial's processes from their pipes in a separate thread."""

from __future__ import annotations

import queue
import select
import threading
from collections import deque
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
from harness.execution.event_pipe import Arrival, EventPipe, Moment
from harness.execution.meter import Meter, Reading
from harness.hardware.telemetry import DeviceWatch

#: Poll interval for events, in seconds.
WAKE_S = 0.2
#: Poll interval in seconds on systems where events have no time stamps.
UNSTAMPED_WAKE_S = 0.02
#: The sampler of the GPUs ignores an event that is read more than this number of seconds after it was written.
LATE_S = 0.5


class EventReader(threading.Thread):
    """A thread that reads events from pipes as they arrive and passes each of the worker's events to `meter`.

    Events are read in a separate thread, so that a slow watcher, such as a display, does not delay the measurement.

    If the trial has an evaluator, an event `Evaluated` of the worker says only that the worker has ended the
    evaluation. The evaluator's result replaces the event. Such an event without a result is ignored.

    Args:
        descriptor: file descriptor of the reading end of the worker's pipe.
        meter: the supervisor's measurement of the worker.
        evaluator: file descriptor of the reading end of the evaluator's pipe; None if the worker evaluates its weights.
    """

    def __init__(self, descriptor: int, meter: Meter, evaluator: int | None = None) -> None:
        super().__init__(name="events", daemon=True)
        worker_decoder, evaluator_decoder = msgspec.json.Decoder(WorkerEvent), msgspec.json.Decoder(EvaluatorEvent)
        self._worker = EventPipe(descriptor, partial(decode_event, worker_decoder))
        self._evaluator: EventPipe | None = None
        if evaluator is not None:
            self._evaluator = EventPipe(evaluator, partial(_decode_evaluator_event, evaluator_decoder))
        self._meter = meter
        #: Events that the worker wrote after its processor times were last read. They wait for the next reading.
        self._postponed: list[Arrival] = []
        #: The evaluator's results for which the worker's events `Evaluated` have not arrived.
        self._results: deque[Evaluated] = deque()
        self._is_clock_running = False
        #: GPU sampler, which is notified when the worker's clock starts or stops; None without GPUs.
        self.watch: DeviceWatch | None = None
        #: The events in order. If the pipe ends without a last event (`is_last_event`), the value None follows them.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        try:
            while self._postponed or not self._worker.ended:
                if self._forward(self._wait()):
                    return
            self._meter.end()
            self.events.put(None)
        finally:
            self._meter.close()
            self._worker.close()
            if self._evaluator is not None:
                self._evaluator.close()

    def _wait(self) -> bool:
        """Wait for events. Return True if none came in time. The worker's processor times must then be read anyway."""
        open_pipes = [p.descriptor for p in (self._worker, self._evaluator) if p is not None and not p.ended]
        timeout = WAKE_S if self._worker.is_stamped else UNSTAMPED_WAKE_S
        return not select.select(open_pipes, [], [], 0.0 if self._postponed else timeout)[0]

    def _forward(self, must_read_times: bool) -> bool:
        """Read and pass on all events in the pipes. Return whether the last event was among them.

        In an evaluation, the evaluator writes its result first. Then the worker writes its event `Evaluated`.
        The evaluator's events are therefore read a second time after those of the worker. The second read gets the
        results for all events `Evaluated` of the worker.

        Args:
            must_read_times: whether the worker's processor times are read even if there are no events.
        """
        results = self._read_results()
        arrivals, self._postponed = self._postponed + self._worker.read(), []
        reading = None
        if arrivals or must_read_times:
            # The measurement needs all events that were written before the processor times were read. The pipe is
            # therefore read again after the times.
            reading = self._meter.read()
            arrivals += self._worker.read()
            postponed = (i for i, arrival in enumerate(arrivals) if arrival.written.earliest > reading.ended)
            first_postponed = next(postponed, len(arrivals))
            arrivals, self._postponed = arrivals[:first_postponed], arrivals[first_postponed:]
        results += self._read_results()
        self._results += [event for event in results if isinstance(event, Evaluated)]
        arrivals = self._drop_unfounded(arrivals)
        if reading is not None:
            self._meter.measure(reading, arrivals)
        for event in results:
            if not isinstance(event, Evaluated):
                self.events.put(event)
                if is_last_event(event):
                    return True
        for arrival in arrivals:
            event = arrival.event
            self._notify_watch(event, arrival.written, reading)
            if is_last_event(event):
                # Do not wait for the end of the pipe: a process that the worker started may hold it open.
                for result in (*self._results, event):
                    self.events.put(result)
                return True
            is_replaced = isinstance(event, Evaluated) and self._evaluator is not None
            self.events.put(self._results.popleft() if is_replaced else event)
        return False

    def _read_results(self) -> list[AnyEvent]:
        return [] if self._evaluator is None else [arrival.event for arrival in self._evaluator.read()]

    def _drop_unfounded(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Return the events of the worker without the evaluations for which the evaluator has no result."""
        if self._evaluator is None:
            return arrivals
        evaluations = [arrival for arrival in arrivals if isinstance(arrival.event, Evaluated)]
        unfounded = evaluations[len(self._results) :]
        return [arrival for arrival in arrivals if arrival not in unfounded]

    def _notify_watch(self, event: AnyEvent, written: Moment, reading: Reading | None) -> None:
        if not isinstance(event, ClockChanged) or event.running == self._is_clock_running:
            return
        self._is_clock_running = event.running
        if self.watch is not None and reading is not None and reading.ended - written.earliest <= LATE_S:
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
