"""The training loop: how runs end, what is evaluated when, and what is in a record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.contract.run import Point
from harness.worker import checkpoint
from harness.worker.points import finite_point, gradient_norm
from tests import micro
from tests.helpers import Remember, outcome, run_here, spec_of, submission
from tests.worker import screened


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


def test_the_mean_training_loss_is_over_the_passes_since_the_evaluation_before(tmp_path: Path) -> None:
    """Of four updates per evaluation, `train_loss` is the last loss and `mean_train_loss` the mean of all four."""
    from tests import submissions_for_tests as made

    made.LOSSES.clear()
    record = run_here(spec_of(entry("NotesLosses"), smoke=True), tmp_path)
    first, *rest = record.points
    assert (first.train_loss, first.mean_train_loss) == (None, None)
    assert len(made.LOSSES) == 4 * len(rest)
    for index, point in enumerate(rest):
        losses = made.LOSSES[4 * index : 4 * index + 4]
        assert point.mean_train_loss == pytest.approx(sum(losses) / 4, rel=1e-6)
        assert point.train_loss == pytest.approx(losses[-1], rel=1e-6)


def test_the_norm_of_the_gradients_is_stored_on_request_and_changes_nothing(tmp_path: Path) -> None:
    plain = run_here(spec_of(entry("Base"), smoke=True), tmp_path / "plain")
    measured = run_here(spec_of(entry("Base"), smoke=True), tmp_path / "measured", grad_norm=True)
    assert measured.run_id == plain.run_id
    assert measured.final_weights == plain.final_weights
    assert {point.grad_norm for point in plain.points} == {None}
    assert measured.points[0].grad_norm is None, "the untrained model has no gradient"
    assert all(point.grad_norm is not None and 0 < point.grad_norm < 100 for point in measured.points[1:])


def test_a_norm_is_that_of_all_gradients_together() -> None:
    model = torch.nn.Linear(2, 2)
    assert gradient_norm(model) is None
    model.weight.grad = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    assert gradient_norm(model) == pytest.approx(3.0)
    model.bias.grad = torch.tensor([0.0, 4.0])
    assert gradient_norm(model) == pytest.approx(5.0)
    model.bias.grad = torch.tensor([0.0, math.nan])
    point = Point(
        examples=0, gradient_examples=0, steps=0, seconds=0.0, process_seconds=0.0, metrics={},
        grad_norm=gradient_norm(model), mean_train_loss=math.inf,
    )  # fmt: skip
    assert (finite_point(point).grad_norm, finite_point(point).mean_train_loss) == (None, None)


@pytest.mark.parametrize(("share", "all_of_them"), [(0.0, False), (math.inf, True)])
def test_checkpoints_take_a_bounded_share_of_the_time(
    share: float, all_of_them: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first evaluation writes a checkpoint. The share decides about the others; the run itself is the same."""
    saved: list[int] = []
    stage = checkpoint.stage

    def remember(folder: Path, state: dict[str, Any], run_id: str) -> None:
        saved.append(state["work"]["steps"])
        stage(folder, state, run_id)

    monkeypatch.setattr(checkpoint, "stage", remember)
    monkeypatch.setattr("harness.worker.loop.CHECKPOINT_SHARE", share)
    record = run_here(spec_of(entry("Noisy")), tmp_path)
    steps = [point.steps for point in record.points[1:-1]]
    assert saved == (steps if all_of_them else [])
    assert outcome(record) == outcome(run_here(spec_of(entry("Noisy")), tmp_path / "again"))


@pytest.mark.parametrize(("seconds_per_byte", "expected"), [(0.0, True), (1e9, False)])
def test_a_large_state_waits_for_its_first_checkpoint(
    seconds_per_byte: float, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []
    monkeypatch.setattr(checkpoint, "stage", lambda *arguments: saved.append(True))
    monkeypatch.setattr(checkpoint, "commit", lambda folder: None)
    monkeypatch.setattr("harness.worker.loop.CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr("harness.worker.loop.CHECKPOINT_S_PER_BYTE", seconds_per_byte)
    monkeypatch.setattr("harness.worker.loop.state_bytes", lambda state, model: 1 << 30)
    run_here(spec_of(entry("Noisy")), tmp_path)
    assert bool(saved) is expected


def test_the_time_budget_ends_a_run(tmp_path: Path) -> None:
    budget = micro.FACTS.budget
    import msgspec

    short = msgspec.structs.replace(budget, seconds={"default": 1e-9})
    record = run_here(spec_of(entry("Base"), facts={"budget": short}), tmp_path)
    assert record.status == "timeout"
    assert len(record.points) == 2


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


def test_a_copied_model_counts_and_copies_no_data(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("CopiesTheModel"), smoke=True), tmp_path)
    assert record.counters.forward_examples == 2 * record.counters.examples


class EveryStep(micro.Micro):
    """It evaluates after every step."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-every-step", eval_every=micro.FACTS.batch_sizes[0])


def test_the_first_step_may_end_an_interval(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("Base"), screened.entry(EveryStep), smoke=True), tmp_path)
    batch = record.points[1].examples
    assert (record.points[1].steps, record.points[2].examples) == (1, 2 * batch), record.reason
