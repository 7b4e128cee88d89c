"""The run loop: how runs end, what is evaluated, and that an interrupted run ends as if it never was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.contract.entries import WorkloadEntry
from harness.contract.events import Evaluated
from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.execution.state import Interrupted
from tests import micro
from tests.helpers import Remember, folder_of, outcome, run_here, spec_of, submission


def entry(name: str, **fields: Any) -> Any:
    return submission(f"tests.submissions_for_tests:{name}", **fields)


def test_a_run_reaches_its_target(tmp_path: Path) -> None:
    watcher = Remember()
    record = run_here(spec_of(entry("Base")), tmp_path, watcher)
    assert record.status == "reached"
    assert record.hit == len(record.points) - 1
    assert record.points[record.hit].metrics["loss"] <= 0.14 < record.points[record.hit - 1].metrics["loss"]
    assert [p.examples for p in record.points] == [64 * i for i in range(len(record.points))]
    assert record.crossing_weights == record.final_weights != ""
    assert watcher.points == list(record.points)
    assert record.counters.process_seconds > 0
    assert record.usage.parameters == 99
    assert record.environment is not None
    assert record.environment.torch == torch.__version__


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("ToNan", "diverged", "nan"),
        ("Raises", "crashed", "the submission's own mistake"),
        ("TooMuchMemory", "out-of-memory", "memory"),
        ("KeepsASet", "crashed", "state['submission']['seen'] is a set"),
        ("KeepsADefaultDict", "crashed", "state['submission']['counts'] is a defaultdict"),
    ],
)
def test_every_end_is_a_record(name: str, status: str, word: str, tmp_path: Path) -> None:
    record = run_here(spec_of(entry(name)), tmp_path)
    assert record.status == status
    assert word in record.reason
    assert folder_of(record.spec, tmp_path).record() == record


def test_a_crash_says_where(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Raises")), tmp_path)
    assert "submissions_for_tests.py:" in record.reason


def test_an_import_that_leaves_a_thread_is_rejected(tmp_path: Path) -> None:
    source = tmp_path / "leaves_a_thread.py"
    source.write_text(
        "import threading, time\n"
        "from tests.submissions_for_tests import Base\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True, name='left-behind').start()\n"
        "class LeavesThread(Base):\n    pass\n"
    )
    record = run_here(spec_of(submission(f"{source}:LeavesThread")), tmp_path)
    assert record.status == "rejected"
    assert "left-behind" in record.reason


def test_the_time_budget_ends_a_run(tmp_path: Path) -> None:
    budget = micro.FACTS.budget
    import msgspec

    short = msgspec.structs.replace(budget, seconds={"default": 1e-9})
    record = run_here(spec_of(entry("Base"), facts={"budget": short}), tmp_path)
    assert record.status == "timeout"
    assert len(record.points) == 2


def test_evaluation_sees_the_weights_the_submission_offers(tmp_path: Path) -> None:
    """A moving average lags: after equal steps its metrics differ, while training itself is untouched."""
    plain = run_here(spec_of(entry("Base"), smoke=True), tmp_path)
    averaged = run_here(spec_of(entry("Averaged"), smoke=True), tmp_path)
    assert plain.points[-1].train_loss == averaged.points[-1].train_loss
    assert plain.points[-1].metrics != averaged.points[-1].metrics


def test_a_stream_advances_through_its_stages(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Noisy"), micro.STREAM_ENTRY), tmp_path)
    assert record.status == "reached", record.reason
    assert len(record.stage_hits) == 2
    assert record.points[record.stage_hits[0]].stage == 0
    assert record.points[record.stage_hits[1]].stage == 1
    assert record.hit == record.stage_hits[-1]


def test_forgetting_exhausts_a_stage(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Base"), micro.STREAM_ENTRY), tmp_path)
    assert record.status == "exhausted"
    assert "second" in record.reason
    assert len(record.stage_hits) == 1


def test_a_pool_gives_a_holdout_and_snapshots_restore(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Searches", needs=frozenset({"holdout"})), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    # Three batches a step, all of them drawn, all of them counted.
    assert record.counters.examples == record.counters.steps * 3 * 16


def test_feedback_is_only_for_those_who_ask(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("WantsFeedback", needs=frozenset({"feedback"})), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    record = run_here(spec_of(entry("WantsFeedback"), smoke=True), tmp_path / "other")
    assert record.status == "crashed"


class StopAt:
    """A transport that runs the worker's code here and breaks off at a given event."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __call__(self, job: Any, receive: Any) -> None:
        from harness.worker.job import run_job

        seen = 0

        def until(event: Any) -> None:
            nonlocal seen
            receive(event)
            seen += isinstance(event, Evaluated)
            if seen == self.stop:
                raise KeyboardInterrupt

        run_job(job, until)


def interrupted_run(spec: RunSpec, runs: Path, stops: list[int]) -> Any:
    """The trial broken off after so many evaluations of each attempt, then finished."""
    from harness.execution.trial import run_trial

    for stop in stops:
        with pytest.raises(Interrupted):
            run_trial(spec, runs, Remember(), transport=StopAt(stop))
        _disturb()
    return run_here(spec, runs)


def _disturb() -> None:
    """Leave every global source of randomness somewhere else."""
    import numpy as np

    torch.manual_seed(123)
    np.random.seed(321)
    random.seed(231)


@pytest.mark.parametrize(
    "name", ["Base", "Noisy", "Averaged", "Decaying", "Plain", "Freezes", "HalfMomentum", "Shrinks", "TensorRate"]
)
@pytest.mark.parametrize("workload", [micro.ENTRY, micro.STREAM_ENTRY], ids=["pool", "stream"])
def test_an_interrupted_run_ends_as_if_it_never_was(name: str, workload: WorkloadEntry, tmp_path: Path) -> None:
    spec = spec_of(entry(name), workload)
    whole = run_here(spec, tmp_path / "whole")
    _disturb()
    broken = interrupted_run(spec, tmp_path / "broken", [2, 1])
    assert outcome(broken) == outcome(whole)
    assert len(whole.points) > 2


def test_equal_seeds_pair_and_unequal_ones_do_not(tmp_path: Path) -> None:
    base, again = (run_here(spec_of(entry("Base")), tmp_path / side) for side in "ab")
    assert outcome(base) == outcome(again)
    other = run_here(spec_of(entry("Base"), seed=1), tmp_path / "a")
    assert other.run_id != base.run_id
    assert outcome(other) != outcome(base)
    noisy = spec_of(entry("Noisy"))
    assert noisy.seeds == base.spec.seeds, "the submission's name must not decide its seeds"


def test_dropout_is_a_model_option(tmp_path: Path) -> None:
    plain = run_here(spec_of(entry("Base"), smoke=True), tmp_path)
    dropped = run_here(spec_of(entry("Base", model_options={"dropout": 0.4}), smoke=True), tmp_path)
    assert plain.points[-1].train_loss != dropped.points[-1].train_loss
    assert plain.points[0].metrics == dropped.points[0].metrics


def test_profile_takes_the_time_apart(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Base"), smoke=True, profile=True), tmp_path)
    assert set(record.profile) == {"data", "forward", "backward", "optimizer", "eval_weights"}
    assert all(spent > 0 for spent in record.profile.values())
    assert sum(record.profile.values()) <= record.counters.seconds


def test_guard_names_what_changed() -> None:
    from harness.worker.distributed.collectives import SINGLE_PROCESS
    from harness.worker.rules import load_rules

    model = torch.nn.Linear(2, 2)
    rules = load_rules(spec_of(entry("Base")))
    rules.before_construction(model, SINGLE_PROCESS)
    rules.at_pause(model, SINGLE_PROCESS)
    model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(RejectedError, match="extra"):
        rules.at_pause(model, SINGLE_PROCESS)


def test_a_schedule_is_told_where_it_stands_in_a_stage(tmp_path: Path) -> None:
    from tests import submissions_for_tests as made

    made.TOLD.clear()
    record = run_here(spec_of(entry("Told", needs=frozenset({"replay"})), micro.STREAM_ENTRY), tmp_path)
    assert len(record.stage_hits) >= 1, record.reason
    began = record.points[record.stage_hits[0]].examples
    first, second = ([p for p in made.TOLD if p.task_index == k] for k in (0, 1))
    assert [p.task_step for p in first] == list(range(began // 16))
    assert [p.task_step for p in second[:3]] == [0, 1, 2]
    assert second[0].step == began // 16
    assert {p.task_horizon for p in made.TOLD} == {200}
    assert {p.horizon for p in made.TOLD} == {400}


def test_feedback_is_on_the_weights_that_are_scored(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("ZeroWhenEvaluated", needs=frozenset({"feedback"})), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    assert record.points[-1].metrics["loss"] == pytest.approx(1.0986, abs=1e-3)


def test_a_copied_model_counts_and_copies_no_data(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("CopiesTheModel"), smoke=True), tmp_path)
    assert record.counters.forward_examples == 2 * record.counters.examples
