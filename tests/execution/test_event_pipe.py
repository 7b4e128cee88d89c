"""When an event was written, as far as a late reader can know it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from harness.contract.events import AnyEvent, PhaseBegan, Warned
from harness.execution import event_pipe
from harness.execution.event_pipe import EventPipe, open_event_pipe
from harness.worker.process import MESSAGE_BYTES, make_emitter

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not note when a message was written")
Ends = tuple[EventPipe, int]


def decode(line: bytes) -> AnyEvent:
    return msgspec.json.decode(line, type=PhaseBegan | Warned)


def ends(pair: tuple[int, int]) -> Iterator[Ends]:
    pipe = EventPipe(pair[0], decode)
    yield pipe, pair[1]
    pipe.close()
    os.close(pair[0])


@pytest.fixture
def stamped() -> Iterator[Ends]:
    yield from ends(open_event_pipe())


@pytest.fixture
def unstamped() -> Iterator[Ends]:
    yield from ends(os.pipe())


@linux
def test_an_event_has_the_time_at_which_it_was_written(stamped: Ends) -> None:
    """However long after it the event is read: the bounds lie around the write, and not around the reading."""
    pipe, writer = stamped
    assert pipe.read() == []
    before = time.perf_counter()
    make_emitter(writer)(PhaseBegan(phase="training"))
    after = time.perf_counter()
    time.sleep(0.05)
    (arrival,) = pipe.read()
    assert arrival.event == PhaseBegan(phase="training")
    # The two clocks are compared to about 50 microseconds, and a busy machine delays the comparison.
    (_, error), (_, earlier_error) = event_pipe._read_offset(), pipe._offset
    slack = 1e-3 + error + earlier_error
    assert before - slack <= arrival.written.earliest <= arrival.written.latest <= after + slack
    os.close(writer)


def test_without_stamps_an_event_was_written_after_the_pipe_was_empty(unstamped: Ends) -> None:
    pipe, writer = unstamped
    assert not pipe.is_stamped
    before = time.perf_counter()
    assert pipe.read() == []
    emit = make_emitter(writer)
    emit(PhaseBegan(phase="training"))
    emit(PhaseBegan(phase="averaging"))
    first, second = pipe.read()
    assert first.written == second.written
    assert before <= first.written.earliest <= first.written.latest <= time.perf_counter()
    os.close(writer)


@linux
@pytest.mark.parametrize("step", [-3600.0, -0.5, 0.5, 3600.0])
def test_a_clock_that_was_set_gives_bounds_from_the_readings(
    stamped: Ends, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sets the real-time clock, by which the system notes the times, between the write and the reading."""
    pipe, writer = stamped
    before = time.perf_counter()
    assert pipe.read() == []
    make_emitter(writer)(PhaseBegan(phase="training"))
    real = time.time
    monkeypatch.setattr("harness.execution.event_pipe.time.time", lambda: real() + step)
    (arrival,) = pipe.read()
    assert before <= arrival.written.earliest <= arrival.written.latest <= time.perf_counter()
    os.close(writer)


@pytest.mark.parametrize("kind", ["stamped", "unstamped"])
def test_a_long_event_arrives_in_one_piece(kind: str, request: pytest.FixtureRequest) -> None:
    pipe, writer = request.getfixturevalue(kind)
    event = Warned(message="x" * (MESSAGE_BYTES + 1000))
    make_emitter(writer)(event)
    os.close(writer)
    assert [arrival.event for arrival in pipe.read()] == [event]
    assert pipe.ended
    assert pipe.read() == []
