"""Screened evaluations: they decide as the whole ones, cost less, resume exactly and distrust a workload that errs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.contract.record import Record, Screening
from harness.contract.run import RunSpec
from harness.contract.workload import Target
from harness.worker.baseline import RENEWAL
from harness.worker.early_evaluation import EarlyEvaluation
from harness.worker.evaluator import Evaluator
from tests import micro
from tests.helpers import Remember, outcome, run_here, run_worker, spec_of, submission
from tests.worker import ranked, screened
from tests.worker.interrupt import interrupted_run

LOSS = {"the target": (Target(metric="loss", goal="min", value=0.14),)}


def spec(workload: type[micro.Micro] = screened.Screened, name: str = "Base", **settings: Any) -> RunSpec:
    return spec_of(submission(f"tests.submissions_for_tests:{name}"), screened.entry(workload), **settings)


def evaluator(workload: micro.Micro, shadow: bool = False, **fields: Any) -> Evaluator:
    made: Any = workload
    return Evaluator(msgspec.structs.replace(spec(type(workload)), **fields), made, shadow=shadow)


def train_a_little(model: torch.nn.Module) -> torch.nn.Module:
    """Move the weights towards smaller ones."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.98)
    return model


def counts(record: Record) -> Screening:
    """What was counted, without the seconds."""
    assert record.screening is not None
    return msgspec.structs.replace(record.screening, screened_seconds=0.0, whole_seconds=0.0)


class TestEvaluator:
    """It needs no run."""

    def test_a_part_decides_what_is_far_away(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        whole = judge.evaluate(model)
        assert whole.examples is None
        workload.windows.clear()
        part = judge.evaluate(model, decisions=LOSS)
        assert workload.windows == [(0, 64)]
        assert part.examples == 64
        assert part.se is not None
        assert abs(part.metrics["loss"] - whole.metrics["loss"]) < 6 * part.se
        assert set(part.metrics) == set(whole.metrics)
        assert not judge.warnings

    def test_a_part_is_the_beginning_of_the_whole(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model)
        part = judge.evaluate(model, decisions=LOSS)
        with torch.no_grad():
            measured = workload.measure(model, "score")
        assert part.metrics["loss"] == pytest.approx(float(measured["loss"][:64].mean()))

    def test_parts_grow_without_measuring_an_example_twice(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        loss = judge.evaluate(model).metrics["loss"]
        with torch.no_grad():
            sd = float(workload.measure(model, "score")["loss"].std())
        workload.windows.clear()
        near = {"the target": (Target(metric="loss", goal="min", value=loss - 0.5 * sd),)}
        part = judge.evaluate(model, decisions=near)
        assert part.examples in (128, 192, 256, 320)
        windows = workload.windows
        assert windows[0][0] == 0
        assert windows[-1][1] == part.examples
        assert all(a[1] == b[0] for a, b in pairwise(windows))

    def test_near_a_target_every_example_is_measured_once(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        whole = judge.evaluate(model)
        workload.windows.clear()
        near = {"the target": (Target(metric="loss", goal="min", value=whole.metrics["loss"] - 1e-4),)}
        assert judge.evaluate(model, decisions=near).metrics == pytest.approx(whole.metrics, rel=1e-7)
        assert [start for start, _ in workload.windows[1:]] == [stop for _, stop in workload.windows[:-1]]
        assert (workload.windows[0][0], workload.windows[-1][1]) == (0, screened.POINTS)
        assert len(workload.windows) <= 32

    @pytest.mark.parametrize("shadow", [False, True])
    def test_unchanged_weights_are_not_measured_again(self, shadow: bool) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload, shadow=shadow)
        loss = judge.evaluate(model).metrics["loss"]
        far, other = (
            {"the target": (Target(metric="loss", goal="min", value=loss - distance),)} for distance in (0.5, 0.6)
        )
        evaluation = judge.evaluate(train_a_little(model), decisions=far)
        resumed = evaluator(workload, shadow=shadow)
        resumed.load_state_dict(judge.state_dict())
        workload.windows.clear()
        for again in (judge, resumed):
            assert again.evaluate(model, decisions=far) == evaluation
        assert not workload.windows
        assert judge.outcome is not None
        assert (judge.outcome.evaluations, judge.outcome.screened) == (3, 2)
        assert judge.state_dict()["repeated"] == resumed.state_dict()["repeated"]
        judge.evaluate(model, decisions=other)
        assert workload.windows, "other decisions may need more examples"
        workload.windows.clear()
        judge.evaluate(train_a_little(model), decisions=other)
        assert workload.windows

    @pytest.mark.parametrize("workload", [screened.Screened(), screened.Shuffled()])
    def test_a_part_that_does_not_suffice_is_completed(self, workload: screened.Screened) -> None:
        """The decision needs more examples than the mean of the first ones suggests."""
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model)
        train_a_little(model)
        whole = evaluator(type(workload)()).evaluate(model)
        assert judge.outcome is not None
        before = judge.outcome.examples
        # The first part is as small as the previous weights allow. Those were far from this target.
        judge._estimates = {}
        workload.windows.clear()
        near = {"the target": (Target(metric="loss", goal="min", value=whole.metrics["loss"]),)}
        assert judge.evaluate(model, decisions=near).metrics == pytest.approx(whole.metrics, rel=1e-7)
        assert len(workload.windows) > 2
        assert sum(stop - start for start, stop in workload.windows) == screened.POINTS
        assert judge.outcome.examples - before == screened.POINTS

    def test_a_baseline_makes_parts_smaller(self) -> None:
        workload = screened.Smooth()
        model, judge = screened.untrained(workload), evaluator(workload)
        losses = [judge.evaluate(train_a_little(model)).metrics["loss"] for _ in range(2)]
        workload.windows.clear()
        target = Target(metric="loss", goal="min", value=losses[1] - 0.1)
        part = judge.evaluate(train_a_little(model), decisions={"the target": (target,)})
        assert part.examples is not None
        assert part.se is not None
        whole = evaluator(workload).evaluate(model).metrics["loss"]
        assert abs(part.metrics["loss"] - whole) < 6 * part.se
        with torch.no_grad():
            measured = workload.measure(model, "score")["loss"]
        assert part.se < float(measured.std()) / part.examples**0.5 / 2

    def test_the_baseline_is_renewed_only_if_parts_would_be_smaller(self) -> None:
        """The weights change little, so a new baseline would not make a part of 128 examples smaller."""
        workload = screened.Smooth()
        model, judge = screened.trained(workload), evaluator(workload)
        judge.evaluate(model)
        judge.evaluate(train_a_little(model))
        sizes = []
        for _ in range(10):
            loss = evaluator(workload).evaluate(train_a_little(model)).metrics["loss"]
            near = {"the target": (Target(metric="loss", goal="min", value=loss - 0.1),)}
            sizes.append(judge.evaluate(model, decisions=near).examples)
        assert sizes == [128] * 10
        assert judge._baseline.excess == 0
        judge._baseline.excess = int(RENEWAL * screened.POINTS) + 1
        assert judge.evaluate(train_a_little(model), decisions=near).examples is None
        assert judge._baseline.excess == 0

    def test_the_hard_examples_exclude_a_target_that_is_near(self) -> None:
        workload = screened.Hard()
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model)
        loss = evaluator(workload).evaluate(train_a_little(model)).metrics["loss"]
        workload.sizes.clear()
        near = {"the target": (Target(metric="loss", goal="min", value=0.9 * loss),)}
        part = judge.evaluate(model, decisions=near)
        assert part.examples is not None
        assert part.examples == sum(workload.sizes) < screened.POINTS / 4
        assert part.se is not None
        assert 0 < abs(part.metrics["loss"] - loss) < 2 * part.se

    def test_a_hit_is_whole(self) -> None:
        workload = screened.Screened()
        judge = evaluator(workload)
        judge.evaluate(screened.untrained(workload))
        assert judge.evaluate(screened.trained(workload), decisions=LOSS).examples is None

    def test_a_diverged_model_is_whole(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model)
        with torch.no_grad():
            next(model.parameters()).fill_(torch.nan)
        found = judge.evaluate(model, decisions=LOSS)
        assert found.examples is None
        assert found.metrics["loss"] != found.metrics["loss"]

    def test_a_stream_has_64_examples_of_every_task(self) -> None:
        workload = screened.ScreenedStream()
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model, stage=0)
        # The tasks of a new stage are measured in full once.
        decisions = {"the stage": (Target(metric="avg_seen", goal="max", value=0.99),)}
        assert judge.evaluate(model, stage=1, decisions=decisions).examples is None
        part = judge.evaluate(train_a_little(model), stage=1, decisions=decisions)
        assert part.examples == 128
        assert set(part.metrics) == {"avg_seen", "accuracy/0", "accuracy/1"}

    def test_the_state_is_restored(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        judge.evaluate(model)
        judge.evaluate(model, decisions=LOSS)
        restored = evaluator(workload)
        restored.load_state_dict(judge.state_dict())
        assert restored.state_dict() == judge.state_dict()
        assert restored.evaluate(model, decisions=LOSS) == judge.evaluate(model, decisions=LOSS)


class TestEarlyEvaluation:
    def test_it_is_used_for_the_weights_that_it_evaluated(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        early = EarlyEvaluation(judge, model, None)
        workload.windows.clear()
        assert early.take(screened.untrained(workload)) == evaluator(screened.Screened()).evaluate(model)
        assert not workload.windows

    def test_for_other_weights_the_evaluator_is_as_new(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        new = evaluator(workload).state_dict()
        early = EarlyEvaluation(judge, model, None)
        assert judge.state_dict() != new
        assert early.take(train_a_little(model)) is None
        assert judge.state_dict() == new
        assert judge.evaluate(model) == evaluator(workload).evaluate(model)

    def test_a_failure_is_left_to_the_evaluation_that_is_asked_for(self) -> None:
        workload = screened.Screened()
        model, judge = screened.untrained(workload), evaluator(workload)
        broken = torch.nn.Linear(1, 1)
        new = judge.state_dict()
        early = EarlyEvaluation(judge, broken, None)
        assert early.take(broken) is None
        assert judge.state_dict() == new
        assert not judge.warnings
        assert judge.evaluate(model).examples is None


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (screened.Sorted, "the order of the split is not random"),
        (screened.Overridden, "evaluate() and metrics() return different values"),
        (screened.WrongValues, "the mean of the values of loss is "),
    ],
)
def test_a_workload_that_errs_gets_whole_evaluations_and_one_warning(
    workload: type[screened.Screened], words: str, tmp_path: Path
) -> None:
    watcher = Remember()
    record = run_here(spec(workload, smoke=True), tmp_path, watcher)
    (warning,) = watcher.warnings
    assert words in warning
    assert not any(point.screened for point in record.points)
    assert record.screening is not None
    assert words in record.screening.disabled
    whole = run_here(spec(workload, smoke=True, screening=False), tmp_path)
    assert [p.metrics for p in record.points] == [p.metrics for p in whole.points]
    assert whole.screening is None


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (micro.Micro, "no measure()"),
        (ranked.Shared, "no values per example"),
        (screened.Undivided, "returns the whole split"),
    ],
)
def test_a_workload_without_parts_gets_whole_evaluations(
    workload: type[micro.Micro], words: str, tmp_path: Path
) -> None:
    watcher = Remember()
    record = run_here(spec(workload, smoke=True), tmp_path, watcher)
    assert not watcher.warnings
    assert not any(point.screened for point in record.points)
    assert record.screening is not None
    assert words in record.screening.disabled
    assert record.screening.evaluations == len(record.points)


@pytest.mark.parametrize("workload", [screened.Screened, screened.Smooth, screened.ScreenedStream])
def test_a_screened_run_ends_as_a_whole_one(workload: type[micro.Micro], tmp_path: Path) -> None:
    """Training does not depend on evaluations, so that all points are of the same weights."""
    record = run_here(spec(workload), tmp_path)
    whole = run_here(spec(workload, screening=False), tmp_path)
    assert (record.status, record.hit, record.stage_hits) == (whole.status, whole.hit, whole.stage_hits)
    assert record.final_weights == whole.final_weights
    assert [p.train_loss for p in record.points] == [p.train_loss for p in whole.points]
    for part, full in zip(record.points, whole.points, strict=True):
        if not part.screened:
            assert part.metrics == full.metrics
    assert not record.points[0].screened
    assert not record.points[-1].screened
    found = counts(record)
    assert found.evaluations == len(record.points)
    assert found.screened == sum(point.screened for point in record.points) > 0
    assert found.examples < found.whole_examples
    for level in record.spec.workload.facts.levels.values():
        met = [[i for i, p in enumerate(r.points) if all(t.met(p.metrics) for t in level)] for r in (record, whole)]
        assert met[0][0] == met[1][0]
        assert not record.points[met[0][0]].screened


@pytest.mark.parametrize("workload", [screened.Screened, screened.Smooth, screened.ScreenedStream])
def test_shadow_evaluation_stores_the_whole_and_agrees(workload: type[micro.Micro], tmp_path: Path) -> None:
    whole = run_here(spec(workload, screening=False), tmp_path)
    plain = run_here(spec(workload), tmp_path / "plain")
    watcher = Remember()
    record = run_here(spec(workload), tmp_path, watcher, shadow_evaluation=True)
    assert [p.metrics for p in record.points] == [p.metrics for p in whole.points]
    assert not any(point.screened for point in record.points)
    found = counts(record)
    assert found.shadow
    assert found.disagreements == ()
    assert not watcher.warnings
    # Both decide alike, so that the same evaluations are screened, from the same examples.
    assert msgspec.structs.replace(found, shadow=False) == counts(plain)


def test_shadow_evaluation_tells_of_a_disagreement(tmp_path: Path) -> None:
    watcher = Remember()
    record = run_here(spec(screened.Misleading), tmp_path, watcher, shadow_evaluation=True)
    assert record.screening is not None
    assert record.status == "reached", "what is stored was decided by the whole split"
    assert any(
        "the run goes on according to 64 examples of the split, but ends (reached)" in d
        for d in record.screening.disagreements
    )
    assert any(warning.startswith("screened and whole evaluation disagree: after ") for warning in watcher.warnings)


@pytest.mark.parametrize("workload", [screened.Screened, screened.Smooth, screened.ScreenedStream])
def test_an_interrupted_run_screens_as_an_uninterrupted_one(workload: type[micro.Micro], tmp_path: Path) -> None:
    whole = run_here(spec(workload), tmp_path / "whole")
    broken = interrupted_run(spec(workload), tmp_path / "broken", [4, 3])
    assert outcome(broken) == outcome(whole)
    assert counts(broken) == counts(whole)


def test_a_gate_run_has_whole_evaluations_at_its_stops(tmp_path: Path) -> None:
    made = msgspec.structs.replace(spec(), stop=64 * 16)
    record = run_here(made, tmp_path)
    whole = {point.examples for point in record.points if not point.screened}
    assert {0, 128, 256, 512, 1024} <= whole
    assert any(point.screened for point in record.points)


@pytest.mark.slow
def test_two_ranks_screen_as_one(tmp_path: Path) -> None:
    one = run_worker(spec(), tmp_path / "one")
    two = run_worker(msgspec.structs.replace(spec(), ranks=2), tmp_path / "two")
    assert (two.status, two.hit) == (one.status, one.hit), two.reason
    assert [(p.examples, p.evaluated_examples) for p in two.points] == [
        (p.examples, p.evaluated_examples) for p in one.points
    ]
    for a, b in zip(one.points, two.points, strict=True):
        assert b.metrics == pytest.approx(a.metrics, abs=1e-5)
