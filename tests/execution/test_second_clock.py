"""The supervisor's measurement of a worker: late readings reject no honest worker, prompt ones catch a liar.

Nothing here runs: worker and supervisor are on a timeline (`tests.execution.fake_worker`).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.contract.events import ClockChanged, Evaluated, PhaseBegan
from harness.execution.event_pipe import Moment
from harness.execution.off_clock import HELPER_LIMIT
from harness.execution.second_clock import CLOCK_TOLERANCE, WORKER, SecondClock
from harness.execution.windows import Span, Window
from tests.execution.fake_worker import TABLE_READ_S, FakeWorker, prompt_readings, supervise, train

intervals = st.lists(st.tuples(st.floats(0.001, 3.0), st.floats(0.05, 1.0)), min_size=1, max_size=6)
#: Wall seconds of an evaluation, and processor seconds of the worker in it, which waits for the evaluator.
pauses = st.tuples(st.floats(0.02, 2.0), st.floats(0.0, 0.015))
#: A report is late if the worker waits for a processor, or is suspended, before it has written the report.
report_delays = st.lists(st.one_of(st.floats(1e-6, 1e-4), st.floats(1e-4, 3.0)), min_size=1, max_size=5)
#: A reading is late if the supervisor waits for a processor, or is suspended.
reading_delays = st.builds(
    lambda short, long: [*short, long],
    st.lists(st.one_of(st.floats(TABLE_READ_S, 0.01), st.floats(0.01, 0.3)), max_size=6),
    st.floats(0.2, 8.0),
)
#: Shrinking a failure takes minutes, since each run has hundreds of readings.
quick = settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def honest(trained: list[tuple[float, float]], pause: tuple[float, float], delays: list[float]) -> FakeWorker:
    worker = FakeWorker()
    train(worker, trained, [pause] * len(trained), delays)
    return worker


def late_readings(worker: FakeWorker, delays: list[float]) -> list[float]:
    """The times of readings with these intervals between them, in turn, up to the end of the run."""
    times, at, index = [], 100.0, 0
    while at <= worker.now:
        at += delays[index % len(delays)]
        times.append(at)
        index += 1
    return times


@quick
@given(intervals, pauses, report_delays, reading_delays, st.sampled_from([0.0, 0.01, 10.0]))
def test_no_delay_makes_an_honest_worker_a_liar(
    trained: Any, pause: Any, delays: Any, reading_intervals: Any, blur: float
) -> None:
    """Whatever is late, and whether or not the system knows when an event was written."""
    worker = honest(trained, pause, delays)
    meter = supervise(worker, late_readings(worker, reading_intervals), blur)
    assert meter.find_violation() == ""
    charged = meter.charged()
    assert (charged.seconds, charged.process_seconds) == pytest.approx((worker.wall, worker.process), abs=1e-6)
    assert meter.helper_seconds == 0
    assert len(meter.charges) == len(trained) + 1
    reported = [event.point for _, event in worker.events if isinstance(event, Evaluated)]
    for charge, point in zip(meter.charges, reported, strict=True):
        assert charge.at.process_seconds == pytest.approx(point.process_seconds, abs=1e-6)
        assert charge.at.seconds == pytest.approx(point.seconds, abs=1e-6)


@quick
@given(intervals, pauses, st.floats(0.0, 0.95))
def test_a_liar_is_caught_when_readings_are_prompt(trained: Any, pause: Any, honesty: float) -> None:
    worker = FakeWorker(honesty=honesty)
    train(worker, trained, [pause] * len(trained), [1e-5])
    meter = supervise(worker, prompt_readings(worker))
    # Each interval of the clock is known up to the time between its report and the reading.
    unknown = 0.003 * (2 * len(trained) + 1)
    fraction, seconds = CLOCK_TOLERANCE
    hidden = worker.process * (1 - honesty) - unknown
    assert meter.charged().process_seconds >= worker.process - unknown
    assert meter.charged().seconds >= worker.wall - unknown
    if hidden > seconds + fraction * worker.process:
        assert "the supervisor's clock" in meter.find_violation()


def test_a_large_claim_while_nothing_was_measured_is_no_credit() -> None:
    """The supervisor is suspended for 20 s. The worker reports all of it, and little of the time after it."""
    worker = FakeWorker()
    worker.start("training")
    worker.use(20.0, 1.0)
    worker.stop("evaluation")
    suspended_until = worker.now
    worker.start("training")
    worker.use(3.0, 1.0)
    worker.wall, worker.process = worker.wall - 2.0, worker.process - 2.0
    worker.stop("evaluation")
    times = [at for at in prompt_readings(worker) if at > suspended_until]
    meter = supervise(worker, times)
    assert "the supervisor's clock" in meter.find_violation()
    assert meter.charged().process_seconds == pytest.approx(23.0, abs=0.01)


def test_a_suspended_supervisor_does_not_hide_a_set_back_wall_clock() -> None:
    """The times of the reports are known even if they are read late."""
    worker = FakeWorker()
    for _ in range(3):
        worker.start("training")
        worker.use(2.0, 1.0)
        worker.wall -= 1.0
        worker.stop("evaluation")
    meter = supervise(worker, [worker.now + 5.0])
    assert "3.00 wall seconds, the supervisor's clock at least 6.00" in meter.find_violation()


def test_a_thread_in_evaluations_is_charged_and_rejected_by_name() -> None:
    worker = FakeWorker()
    train(worker, [(0.5, 1.0)] * 4, [(1.0, 0.01)] * 4, [1e-5], helper_rate=1.0)
    meter = supervise(worker, prompt_readings(worker))
    assert meter.helper_seconds == pytest.approx(4.0, abs=0.02)
    assert meter.charged().process_seconds == pytest.approx(worker.process + 4.0, abs=0.02)
    assert "thread" in meter.find_violation()
    assert HELPER_LIMIT[0] < 4.0


@pytest.mark.parametrize(("late", "charged"), [(2e-4, 1.0), (0.4, 0.8), (3.0, 0.0)])
def test_work_while_the_clock_is_stopped_is_charged_as_far_as_it_is_known(late: float, charged: float) -> None:
    """The main thread works for 1 s in an evaluation, then trains at half the rate. The start is read late."""
    worker = FakeWorker()
    worker.start("construction")
    worker.stop("start")
    worker.start("training")
    worker.use(0.1, 1.0)
    worker.stop("evaluation")
    stopped = worker.now
    worker.use(1.0, 1.0)
    worker.start("averaging")
    started = worker.now
    worker.use(10.0, 0.5)
    worker.stop("checkpoint")
    meter = supervise(worker, [stopped + 2e-4, started + late, worker.now + 2e-4])
    assert meter.helper_seconds == pytest.approx(max(0.0, charged - 0.02), abs=0.005)


def test_a_flood_of_phases_is_rejected() -> None:
    """Work in phases that are shorter than a reading could not be attributed to any of them."""
    worker = FakeWorker()
    worker.start("construction")
    worker.stop("start")
    for _ in range(20):
        worker.emit(PhaseBegan(phase="evaluation"))
        worker.use(0.001, 0.5)
    meter = supervise(worker, prompt_readings(worker))
    assert "phases began while the clock was stopped" in meter.find_violation()


def test_times_of_phases_add_up() -> None:
    worker = honest([(1.0, 0.5), (2.0, 1.0)], (0.5, 0.01), [1e-5])
    meter = supervise(worker, prompt_readings(worker))
    assert meter.phases["training"].seconds == pytest.approx(3.0, abs=0.01)
    assert meter.phases["training"].process_seconds == pytest.approx(2.5, abs=0.01)
    assert meter.phases["evaluation"].seconds == pytest.approx(1.05, abs=0.01)
    total = sum(spent.seconds for spent in meter.phases.values())
    assert total == pytest.approx(meter._marked - 100.0 - TABLE_READ_S, abs=1e-6)


def test_a_lie_is_not_forgotten_while_readings_lose_a_little_of_each_interval() -> None:
    """Each of 120 honest intervals is measured 5 ms too short, which is more than the lie in total."""
    worker = FakeWorker()
    for index in range(121):
        worker.start("training")
        worker.use(1.0 if index == 20 else 0.02, 1.0)
        if index == 20:
            worker.process -= 0.5
        worker.stop("evaluation")
        worker.use(0.02, 0.5)
    meter = supervise(worker, [at + 5e-3 for at, _ in worker.events])
    assert "the supervisor's clock" in meter.find_violation()
    assert meter.charged().process_seconds > worker.process + 0.45


def test_a_worker_that_dies_is_charged_for_what_it_may_have_used(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = FakeWorker()
    worker.start("training")
    worker.use(3.0, 0.5)
    meter = supervise(worker, [101.0, 102.0, 103.0])
    died_at = 103.5
    monkeypatch.setattr("harness.execution.meter.time.perf_counter", lambda: died_at)
    meter.end()
    assert meter.charged().seconds == pytest.approx(3.5, abs=0.01)
    assert meter.charged().process_seconds == pytest.approx(1.5 + 0.5, abs=0.01)


# --- bounds -------------------------------------------------------------------------------------


def moment(at: float) -> Moment:
    return Moment(earliest=at, latest=at)


def test_a_correction_of_a_stop_is_no_edge() -> None:
    clock = SecondClock()
    clock.begin_window(Window(start=0.0, end=5.0, growth={WORKER: (3.0, 1.0)}))
    assert clock.record_edge(ClockChanged(running=True, seconds=10.0, process_seconds=7.0), moment(1.0))
    assert clock.record_edge(ClockChanged(running=False, seconds=11.0, process_seconds=8.0), moment(4.0))
    assert not clock.record_edge(ClockChanged(running=False, seconds=13.0, process_seconds=9.0), moment(4.5))
    clock.end_window()
    assert clock.charged_seconds() == pytest.approx((3.0, 2.0))
    assert clock.find_disagreement() == ""


@given(
    st.floats(0.0, 10.0),
    st.floats(0.0, 10.0),
    st.lists(st.tuples(st.floats(0.01, 3.0), st.floats(0.0, 2.0)), min_size=2, max_size=12),
    st.floats(0.0, 1.0),
)
def test_bounds_hold_for_every_span(began: float, length: float, pieces: Any, blur: float) -> None:
    """A quantity grows at given rates, of at most 2; its readings are at the ends of the pieces."""
    ended = began + length
    span = Span(Moment(earliest=began - blur, latest=began + blur))
    at = used = inside = 0.0
    window = Window(start=0.0, end=0.0)
    for seconds, rate in pieces:
        window = Window(start=at, end=at + seconds, growth={"x": (seconds * rate, 2.0)})
        inside += rate * max(0.0, min(at + seconds, ended) - max(at, began))
        at, used = at + seconds, used + seconds * rate
        if at >= ended:
            span.ended = Moment(earliest=ended - blur, latest=ended + blur)
        low, high = span.least("x", window), span.most("x", window)
        assert low <= inside + 1e-9
        assert high >= min(inside, used) - 1e-9
        if at >= ended:
            break
        span.add(window)
