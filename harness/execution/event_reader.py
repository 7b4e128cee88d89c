"""Read the events of a worker from its pipe in a separate thread."""

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

#: Poll interval for events, in seconds.
WAKE_S = 0.2
#: Delay in seconds from which a wake-up counts as late, and time stamps as unreliable.
LATE_S = 0.5


class EventReader(threading.Thread):
    """A thread that reads events from the pipe as they arrive and records their time in the second clock.

    It is a separate thread, so that a slow watcher (a display, an observer that uploads) does not delay it.

    Args:
        descriptor: file descriptor of the reading end of the pipe.
        clock: the second clock, which is notified of the edges of the worker's clock.
    """

    def __init__(self, descriptor: int, clock: SecondClock) -> None:
        super().__init__(name="events", daemon=True)
        self._descriptor = descriptor
        self._clock = clock
        #: GPU sampler that is also notified of the edges; None without GPUs.
        self.watch: DeviceWatch | None = None
        #: The events in order; None after the last event or the end of the pipe.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(WorkerEvent)
        pending, awake = b"", time.monotonic()
        while True:
            ready = select.select([self._descriptor], [], [], WAKE_S)[0]
            # If this process was stopped or starved, events that are read now arrived earlier at an unknown time.
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
    """Return the event in a line. An invalid line ends the trial with the status `crashed`."""
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent an invalid event: {error}")
