"""Reads the events of a worker from its pipe, in a thread of its own."""

from __future__ import annotations

import os
import queue
import select
import threading
import time

import msgspec

from harness.contract.events import AnyEvent, ClockEdge, Done, WorkerEvent
from harness.execution.second_clock import SecondClock
from harness.hardware.telemetry import DeviceWatch

#: Whoever waits for events looks up this often; the reader knows by it that it was held up for so many seconds.
WAKE_S = 0.2
LATE_S = 0.5


class EventReader(threading.Thread):
    """Takes events off the pipe as they come, so that the second clock is stamped on time.

    Whoever follows a run (a display, an observer that uploads) may take as long as it likes.

    Args:
        descriptor: the reading end of the pipe.
        clock: told of the edges of the worker's clock.
    """

    def __init__(self, descriptor: int, clock: SecondClock) -> None:
        super().__init__(name="events", daemon=True)
        self._descriptor = descriptor
        self._clock = clock
        #: Told of the edges, too.
        self.watch: DeviceWatch | None = None
        #: Events in order; None when the pipe has ended or the last event has been read.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(WorkerEvent)
        pending, awake = b"", time.monotonic()
        while True:
            ready = select.select([self._descriptor], [], [], WAKE_S)[0]
            # Stopped or starved: what is read now came earlier, and says nothing about the worker's clock.
            late, awake = time.monotonic() - awake > WAKE_S + LATE_S, time.monotonic()
            if late:
                self._clock.lost()
            if not ready:
                continue
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                event = decode_event(decoder, line)
                if isinstance(event, ClockEdge):
                    self._clock.edge(event)
                    if late:
                        self._clock.lost()
                    elif self.watch is not None:
                        self.watch.edge(event)
                self.events.put(event)
                if isinstance(event, Done):
                    # Not the end of the pipe: something the worker left behind may hold it open.
                    return
        self.events.put(None)


def decode_event(decoder: msgspec.json.Decoder[WorkerEvent], line: bytes) -> AnyEvent:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent what is no event: {error}")
