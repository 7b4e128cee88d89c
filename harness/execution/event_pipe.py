"""A pipe of events whose reader knows when each event was written.

A reader that waits for a processor, or is suspended, reads an event late. The time of the reading is therefore only an
upper bound on the time of the writing.

- On Linux, the kernel gives every message on a Unix socket a time stamp when the message is written
  (`SO_TIMESTAMPNS`). No process can change this time stamp.
- On other systems, the last time at which the reader found the pipe empty is a lower bound on the time of the writing.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.contract.events import AnyEvent

#: The socket option and the type of the control message (asm-generic/socket.h). Python has no names for them.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
#: The difference between the real-time clock and `time.perf_counter` changes slowly. If it changes by more than this
#: number of seconds, the real-time clock was set.
_CLOCK_SET_S = 0.001
#: This difference is read again, at most three times in all, if reading it took longer than this number of seconds.
_PROMPT_READ_S = 50e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Bounds on the time of an event, by `time.perf_counter`."""

    earliest: float
    latest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event that was read.

    Args:
        event: the event.
        written: when it was written.
    """

    event: AnyEvent
    written: Moment


def open_event_pipe() -> tuple[int, int]:
    """Return the file descriptors of the reading end and of the writing end."""
    if sys.platform == "linux":
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # On architectures where the option has another number, the events have no time stamps.
        with contextlib.suppress(OSError):
            reader.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        return reader.detach(), writer.detach()
    return os.pipe()


class EventPipe:
    """The reading end of a pipe of events.

    Args:
        descriptor: file descriptor of the reading end, which the caller closes.
        decode: function from a line to its event.

    Attributes:
        ended: whether the writing end was closed and everything was read.
        is_stamped: whether events may have time stamps.
    """

    def __init__(self, descriptor: int, decode: Callable[[bytes], AnyEvent]) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._decode = decode
        self._incomplete_line = b""
        self._socket: socket.socket | None = None
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        self.is_stamped = self._socket is not None
        #: The last time at which the reader found the pipe empty, and the difference between the clocks at that time.
        self._empty_at, self._offset = time.perf_counter(), _read_offset()

    def read(self) -> list[Arrival]:
        """Return the events that were written so far, without waiting."""
        arrivals: list[Arrival] = []
        while not self.ended:
            asked, offset = time.perf_counter(), _read_offset()
            if not select.select([self.descriptor], [], [], 0)[0]:
                self._empty_at, self._offset = asked, offset
                break
            chunk, stamp = self._receive()
            written = self._bound(stamp)
            self.ended = not chunk
            *lines, self._incomplete_line = (self._incomplete_line + chunk).split(b"\n")
            arrivals += [Arrival(event=self._decode(line), written=written) for line in lines]
        return arrivals

    def close(self) -> None:
        """Close the copy of the file descriptor. The caller's file descriptor stays open."""
        if self._socket is not None:
            self._socket.close()

    def _receive(self) -> tuple[bytes, float | None]:
        """Return a chunk and its time stamp: the real time at which the chunk was written; None if unknown."""
        if self._socket is None:
            return os.read(self.descriptor, 65536), None
        chunk, messages, _, _ = self._socket.recvmsg(65536, 256)
        for level, kind, data in messages:
            if (level, kind, len(data)) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS, _TIMESPEC.size):
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                return chunk, seconds + nanoseconds / 1e9
        return chunk, None

    def _bound(self, stamp: float | None) -> Moment:
        """Return bounds on the time at which the chunk that has just been read was written."""
        now = time.perf_counter()
        earliest = min(self._empty_at, now)
        if stamp is None:
            return Moment(earliest=earliest, latest=now)
        (offset, error), (earlier_offset, earlier_error) = _read_offset(), self._offset
        if abs(offset - earlier_offset) > error + earlier_error + _CLOCK_SET_S:
            # The real-time clock was set, or the machine was suspended, at some time since the pipe was last empty.
            return Moment(earliest=earliest, latest=now)
        written = stamp - offset
        return Moment(
            earliest=min(max(written - error, earliest), now), latest=max(earliest, min(written + error, now))
        )


def _read_offset() -> tuple[float, float]:
    """Return the seconds by which the real-time clock is ahead of `time.perf_counter`, and the largest error."""
    best = (0.0, float("inf"))
    for _ in range(3):
        before, real, after = time.perf_counter(), time.time(), time.perf_counter()
        best = min(best, (real - (before + after) / 2, (after - before) / 2), key=lambda pair: pair[1])
        if best[1] <= _PROMPT_READ_S:
            break
    return best
