"""Stored weights are judged by a clean process, and what a worker says about its results does not count."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.events import Done, Evaluated, Judged, Ready, Restored
from harness.contract.judging import JudgeAnswer, Judgement, JudgeRequest, StoredWeights
from harness.contract.record import Usage
from harness.contract.run import Point
from harness.execution import judging, launching, supervisor, worker_process
from harness.execution.event_reader import EventReader
from harness.execution.judging import find_difference, judge_weights
from harness.execution.meter import Meter
from harness.execution.state import Interrupted, Trial
from harness.storage.layout import EVALUATOR, FINAL_WEIGHTS
from tests import micro
from tests.execution import stub
from tests.execution.helpers import stub_specs
from tests.helpers import FORKED, Remember, folder_of, outcome, run_here, run_worker, spec_of, submission

SPEC = spec_of(submission("tests.submissions_for_tests:Base"))
STREAM = spec_of(submission("tests.submissions_for_tests:Base"), micro.STREAM_ENTRY)


def point(examples: int, loss: float) -> Point:
    return Point(
        examples=examples, gradient_examples=examples, steps=examples, seconds=0.0, process_seconds=0.0,
        metrics={"loss": loss},
    )  # fmt: skip


# --- without a process --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "judged", "tolerances", "equal"),
    [
        (0.5, 0.50009, {}, True),
        (0.5, 0.50011, {}, False),
        (50.0, 50.004, {}, True),
        (0.90, 0.904, {"loss": 0.004}, True),
        (0.90, 0.9041, {"loss": 0.004}, False),
    ],
)
def test_metrics_are_equal_up_to_rounding(
    reported: float, judged: float, tolerances: dict[str, float], equal: bool
) -> None:
    difference = find_difference(
        [point(0, 9.0), point(64, reported)], [Judgement(point=1, score={"loss": judged})], tolerances
    )
    assert (difference == "") is equal
    assert equal or "64 examples" in difference


def test_a_metric_that_is_missing_on_one_side_is_a_difference() -> None:
    assert "accuracy" in find_difference(
        [point(0, 1.0)], [Judgement(point=0, score={"loss": 1.0, "accuracy": 0.5})], {}
    )
    assert "loss" in find_difference([point(0, 1.0)], [Judgement(point=0, score={})], {})


def trial() -> Trial:
    return Trial(SPEC, "run-x", Remember(), evaluated_outside=True)


def ready(points: tuple[Point, ...] = ()) -> Ready:
    return Ready(environment=stub.ENVIRONMENT, usage=Usage(parameters=1), points=points)


def test_points_are_those_of_the_evaluator() -> None:
    state = trial()
    state.receive(Restored(points=(point(0, 2.0),)))
    state.receive(ready((point(0, 0.0), point(64, 0.0))))
    state.receive(Evaluated(point=point(64, 1.9)))
    assert [p.metrics["loss"] for p in state.record().points] == [2.0, 1.9]


@pytest.mark.parametrize("reported", ["reached", "exhausted", "pruned", "timeout"])
def test_an_end_that_the_evaluator_does_not_confirm_is_rejected(reported: Any) -> None:
    state = trial()
    state.receive(Done(status=reported, hit=0, final_weights="w", crossing_weights="w"))
    record = state.record()
    assert (record.status, record.hit, record.final_weights, record.trust) == ("rejected", None, "", "self-reported")
    assert reported in record.reason


def test_a_hit_is_the_evaluators() -> None:
    state = trial()
    judgement = Judgement(point=1, score={"loss": 0.1}, audit={"loss": 0.2})
    state.receive(
        Judged(
            status="reached", hit=1, final_weights="a", crossing_weights="a", judgements=(judgement,), trust="evaluated"
        )
    )
    state.receive(Done(status="reached", hit=0, final_weights="b", crossing_weights="b"))
    record = state.record()
    assert (record.status, record.hit, record.crossing_weights, record.trust) == ("reached", 1, "a", "evaluated")
    assert record.judgements == (judgement,)


@pytest.mark.parametrize("reported", [{"hit": 1}, {"hit": -1}, {"stage_hits": (0, 5)}])
def test_a_hit_without_an_evaluation_is_rejected(reported: dict[str, Any]) -> None:
    state = Trial(SPEC, "run-x", Remember())
    state.receive(ready())
    state.receive(Evaluated(point=point(0, 2.0)))
    state.receive(Done(status="reached", **reported))
    record = state.record()
    assert (record.status, record.hit, record.stage_hits) == ("rejected", None, ())
    assert "a hit without an evaluation" in record.reason


@pytest.mark.parametrize("reported", ["rejected", "crashed", "out-of-memory", "diverged"])
def test_a_failure_of_the_worker_stands_without_a_hit(reported: Any) -> None:
    state = trial()
    state.receive(Judged(status="reached", hit=1, final_weights="a"))
    state.receive(Done(status=reported, reason="why", hit=3))
    record = state.record()
    assert (record.status, record.reason, record.hit, record.trust) == (reported, "why", None, "self-reported")


def read_events(worker: list[Any], evaluator: list[Any]) -> list[Any]:
    """What the reader passes on of events that were written before it began to read."""
    readers = []
    for events in (worker, evaluator):
        read_end, write_end = os.pipe()
        os.write(write_end, b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        os.close(write_end)
        readers.append(read_end)
    reader = EventReader(readers[0], Meter(os.getpid(), SPEC, evaluates_outside=True), readers[1])
    reader.run()
    for descriptor in readers:
        os.close(descriptor)
    passed = []
    while not reader.events.empty():
        passed.append(reader.events.get())
    return passed


def test_events_of_both_processes_are_in_the_order_of_the_run() -> None:
    restored, first, judged = Restored(), Evaluated(point=point(0, 1.0)), Judged(status="reached", hit=0)
    forged, done = Evaluated(point=point(64, 0.0)), Done(status="reached")
    assert read_events([ready(), forged, done], [restored, first, judged]) == [restored, judged, ready(), first, done]


def test_a_claim_without_a_result_is_ignored() -> None:
    first, forged = Evaluated(point=point(0, 1.0)), Evaluated(point=point(64, 0.0))
    assert read_events([ready(), first, forged], [Restored(), first]) == [Restored(), ready(), first, None]


def test_results_without_a_claim_precede_the_end() -> None:
    first, done = Evaluated(point=point(0, 1.0)), Done(status="exhausted")
    assert read_events([ready(), done], [Restored(), first]) == [Restored(), ready(), first, done]


def test_a_worker_that_dies_loses_the_evaluation_that_it_has_not_ended() -> None:
    first = Evaluated(point=point(0, 1.0))
    assert read_events([ready()], [Restored(), first]) == [Restored(), ready(), None]


def test_a_judge_that_dies_is_an_error_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "JUDGE", ["false"])
    assert "code 1" in judge_weights(JudgeRequest(spec=SPEC, weights=())).error


def test_a_run_that_is_stopped_while_its_weights_are_judged_is_judged_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)
    monkeypatch.setattr(supervisor, "can_start_evaluator", lambda: True)
    (spec,) = stub_specs(1, evaluations=3)

    def is_stopped(*_: Any) -> JudgeAnswer:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker_process, "judge_weights", is_stopped)
    with pytest.raises(Interrupted):
        run_worker(spec, tmp_path)
    stopped = folder_of(spec, tmp_path).record()
    assert stopped is not None
    assert (stopped.status, stopped.reason) == ("interrupted", "stopped by the user")
    judgement = Judgement(point=2, score=stopped.points[2].metrics)
    monkeypatch.setattr(worker_process, "judge_weights", lambda *_: JudgeAnswer(judgements=(judgement,)))
    watcher = Remember()
    record = run_worker(spec, tmp_path, watcher)
    assert (record.status, record.trust, record.judgements) == ("exhausted", "evaluated", (judgement,))
    assert watcher.resumed == [2], "from the checkpoint before the last evaluation"


# --- with real weights --------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _tests_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))


@pytest.mark.slow
def test_a_clean_process_has_the_metrics_of_the_run(tmp_path: Path) -> None:
    record = run_here(STREAM, tmp_path)
    weights = folder_of(STREAM, tmp_path).path / FINAL_WEIGHTS
    last = len(record.points) - 1
    good = StoredWeights(path=str(weights), point=last, stage=record.points[last].stage)
    (judgement,) = judge_weights(JudgeRequest(spec=STREAM, weights=(good,))).judgements
    assert judgement.score == record.points[last].metrics
    assert judgement.weights == record.final_weights
    assert judgement.audit
    answer = judge_weights(JudgeRequest(spec=SPEC, weights=(msgspec.structs.replace(good, path=str(tmp_path)),)))
    assert str(tmp_path) in answer.error


@pytest.fixture
def _evaluated_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one CPU are evaluated as those of several devices are."""
    monkeypatch.setenv(FORKED, "1")
    for module in (supervisor, worker_process):
        monkeypatch.setattr(module, "evaluates_outside", lambda spec: False)
    monkeypatch.setattr("harness.execution.trial_processes.evaluates_outside", lambda spec: False)


@pytest.mark.slow
@pytest.mark.usefixtures("_evaluated_afterwards")
def test_weights_are_judged_after_the_run(tmp_path: Path) -> None:
    record = run_worker(STREAM, tmp_path)
    assert record.trust == "evaluated", record.reason
    assert [j.point for j in record.judgements] == [*record.stage_hits[:1], len(record.points) - 1]
    assert all(j.score == record.points[j.point].metrics and j.audit for j in record.judgements)
    assert outcome(record) == outcome(run_here(STREAM, tmp_path / "here"))
    assert not (folder_of(STREAM, tmp_path).path / EVALUATOR).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_evaluated_afterwards")
def test_metrics_that_the_weights_do_not_have_are_rejected(tmp_path: Path) -> None:
    record = run_worker(spec_of(submission("tests.worker.cheats:PatchesTheLoss")), tmp_path)
    assert (record.status, record.hit, record.trust) == ("rejected", None, "self-reported")
    assert "saved weights do not have the reported metrics" in record.reason
