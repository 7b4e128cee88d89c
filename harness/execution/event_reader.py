"""Read the events of a worker from its pipe in a separate thread."""

from __future__ import annotations

import os
import queue
import select
import threading
import time

import msgspec

from harness.contract.events import AnyEvent, ClockChanged, Done, WorkerEvent
from harness.execution.meter import Meter
from harness.hardware.telemetry import DeviceWatch

#: Poll interval for events, in seconds.
WAKE_S = 0.2
#: If the thread wakes up later than planned by more than this number of seconds, the events that it then reads arrived
#: at unknown times. Their arrival times are not used.
LATE_S = 0.5
#: If the thread waits for less than this number of seconds, the events may have arrived before.
_NO_WAIT_S = 0.0005


class EventReader(threading.Thread):
    """A thread that reads events from the pipe as they arrive and passes each of them to `meter`.

    An edge is a start or a stop of the clock. Events are read in a separate thread, so that a slow watcher, such as a
    display, does not delay the measurement.

    Args:
        descriptor: file descriptor of the reading end of the pipe.
        meter: the supervisor's measurement of the worker.
    """

    def __init__(self, descriptor: int, meter: Meter) -> None:
        super().__init__(name="events", daemon=True)
        self._descriptor = descriptor
        self._meter = meter
        #: GPU sampler that is also notified of the edges; None without GPUs.
        self.watch: DeviceWatch | None = None
        #: The events in order; None if the pipe ended without a `Done` event.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(WorkerEvent)
        incomplete_line, last_wake_up = b"", time.monotonic()
        latest_wait = time.perf_counter()
        while True:
            asked = time.perf_counter()
            ready = select.select([self._descriptor], [], [], WAKE_S)[0]
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
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                break
            *lines, incomplete_line = (incomplete_line + chunk).split(b"\n")
            for line in lines:
                event = decode_event(decoder, line)
                self._meter.observe(event, since=latest_wait, late=is_late)
                if isinstance(event, ClockChanged) and self.watch is not None and not is_late:
                    self.watch.record_edge(event)
                self.events.put(event)
                if isinstance(event, Done):
                    # Do not wait for the end of the pipe: a process that the worker started may hold it open.
                    return
        self._meter.end()
        self.events.put(None)


def decode_event(decoder: msgspec.json.Decoder[WorkerEvent], line: bytes) -> AnyEvent:
    """Return the event in a line. For an invalid line, return a `Done` event with the status `crashed`."""
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent an invalid event: {error}")
