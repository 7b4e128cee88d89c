"""Where the time of a step goes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.worker.profiling import Profiler, timed
from tests import micro
from tests.helpers import run_here, spec_of, submission
from tests.worker.build import CPU, work_of


def test_profile_takes_the_time_apart(tmp_path: Path) -> None:
    record = run_here(spec_of(submission("tests.submissions_for_tests:Base"), smoke=True, profile=True), tmp_path)
    assert set(record.profile) == {"data", "forward", "backward", "optimizer", "eval_weights"}
    assert all(spent > 0 for spent in record.profile.values())
    assert sum(record.profile.values()) <= record.counters.seconds


def test_a_warm_up_step_is_in_no_phase_of_a_profile() -> None:
    """It is off the clock, and the phases have to fit into the clock's seconds."""
    workload = micro.Micro()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), profile=True)
    work = work_of(spec, workload)
    work.warm_up_step()
    assert set(work.phases.values()) == {0.0}
    work.begin_step()
    work.backward(work.draw())
    assert work.phases["backward"] > 0


def test_a_phase_inside_another_is_not_charged_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 100, 1))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(times)))
    profiler = Profiler(CPU)
    forward = profiler.timed("forward", lambda: None)
    backward = profiler.timed("backward", lambda: [forward(), forward()])
    profiler.start("optimizer")
    backward()
    profiler.stop()
    # Every edge takes a second: optimizer | backward | forward | backward | forward | backward | optimizer.
    assert profiler.phases == {"data": 0, "forward": 2, "backward": 3, "optimizer": 2, "eval_weights": 0}
    profiler.charge("eval_weights", 0.5)
    assert profiler.phases["eval_weights"] == 0.5
    profiler.reset()
    assert set(profiler.phases.values()) == {0.0}


def test_a_phase_ends_with_an_error() -> None:
    profiler = Profiler(CPU)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        profiler.timed("forward", fail)()
    assert not profiler._open_phases


def test_without_a_profiler_nothing_is_wrapped() -> None:
    def function() -> None: ...

    assert timed(None, "forward", function) is function
