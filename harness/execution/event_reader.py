"""Reads the events of a worker from its pipe, in a thread of its own."""

from __future__ import annotations

import os
import queue
import select
import threading
import time

import msgspec

from harness.contract.events import AnyEvent, ClockChanged, Done, WorkerEvent
from harness.execution.second_clock import SecondClock
from harness.hardware.telemetry import DeviceWatch

#: Poll interval of everyone who waits for events.
WAKE_S = 0.2
#: A reader that wakes this much later than planned was held up, and its time stamps are not reliable.
LATE_S = 0.5


class EventReader(threading.Thread):
    """Takes events off the pipe as they come, so that the second clock is stamped on time.

    A slow watcher (a display, an observer that uploads) does not delay it.

    Args:
        descriptor: the reading end of the pipe.
        clock: notified of the edges of the worker's clock.
    """

    def __init__(self, descriptor: int, clock: SecondClock) -> None:
        super().__init__(name="events", daemon=True)
        self._descriptor = descriptor
        self._clock = clock
        #: Notified of the edges, too.
        self.watch: DeviceWatch | None = None
        #: Events in order; None when the pipe has ended or the last event has been read.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(WorkerEvent)
        pending, awake = b"", time.monotonic()
        while True:
            ready = select.select([self._descriptor], [], [], WAKE_S)[0]
            # This process was stopped or starved: events read now came earlier and say nothing about the clock.
            late, awake = time.monotonic() - awake > WAKE_S + LATE_S, time.monotonic()
            if late:
                self._clock.discard_interval()
            if not ready:
                continue
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                event = decode_event(decoder, line)
                if isinstance(event, ClockChanged):
                    self._clock.record_edge(event)
                    if late:
                        self._clock.discard_interval()
                    elif self.watch is not None:
                        self.watch.record_edge(event)
                self.events.put(event)
                if isinstance(event, Done):
                    # Do not wait for the end of the pipe: a process that the worker started may hold it open.
                    return
        self.events.put(None)


def decode_event(decoder: msgspec.json.Decoder[WorkerEvent], line: bytes) -> AnyEvent:
    """The event of a line; an invalid line ends the trial as `crashed`."""
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent an invalid event: {error}")
