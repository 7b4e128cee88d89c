"""Evaluates the weights of a run, and decides whether a stage or the run is over.

Two classes do this:

* `LocalAssessor` evaluates in the process that calls it. This is the evaluator process (`evaluator_process.py`), or the
  worker if there is no evaluator process.
* `RemoteAssessor` (`remote_assessor.py`) lets the worker ask the evaluator process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from torch import nn

from harness.contract.judging import Judgement
from harness.contract.record import Screening
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target
from harness.planning.run_end import Verdict, decide_end, is_stage_over
from harness.storage.layout import FINAL_WEIGHTS
from harness.worker.decisions import describe_decisions, list_decisions
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.early_evaluation import EarlyEvaluation
from harness.worker.evaluation import Evaluation
from harness.worker.evaluator import Evaluator
from harness.worker.evaluator_files import EvaluatorFiles
from harness.worker.points import finite_point
from harness.worker.position import Position
from harness.worker.weights import save_weights

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The result of an evaluation.

    Args:
        point: the evaluation for the record. It has no metrics if an evaluator process keeps them.
        verdict: the decision to end the run; None if the run continues.
        stage_over: whether the stream advances to its next stage.
    """

    point: Point
    verdict: Verdict | None
    stage_over: bool


class Assessor(Protocol):
    """Evaluates the weights of a run on the score split."""

    @property
    def screening(self) -> Screening | None:
        """Number and cost of the screened evaluations (on a part of the score split).

        None if screened evaluations are not allowed in this run, or if another process counts them.
        """
        ...

    def assess(self, model: nn.Module, pending: Point, position: Position) -> Assessment:
        """Evaluate the model's current weights.

        Args:
            model: the model, in any mode.
            pending: the evaluation without its metrics.
            position: the evaluations so far.
        """
        ...

    def take_warnings(self) -> list[str]:
        """Return the messages for the user since the last call."""
        ...

    def save_final_weights(self, model: nn.Module) -> str:
        """Store the weights at the end of the run. Every rank calls this method.

        Returns:
            SHA-256 of the file; an empty string if another process writes the file.
        """
        ...

    def save(self, position: Position) -> None:
        """Store the state after the evaluations so far, with the SHA-256 of the staged checkpoint."""
        ...

    def restore(self, position: Position) -> Position | None:
        """Restore the state that `save` stored together with a checkpoint.

        Args:
            position: the evaluations in the checkpoint; no evaluations in a new run.

        Returns:
            The evaluations in this state; None if there is no such state. If an evaluator process keeps the metrics
            secret, the returned evaluations have no metrics.
        """
        ...


class LocalAssessor:
    """Evaluates weights in this process.

    Args:
        spec: the specification of the trial.
        evaluator: evaluates models on the score split.
        folder: the folder for the results and for the final weights.
        group: the ranks of the run. Rank 0 decides for all ranks and writes the files.
        checkpoints: the worker's folder, which contains the checkpoints.
        trusted: whether this process has never imported the submission.
        keep_weights: see `Job.keep_weights`.

    Attributes:
        trusted: whether all evaluations of the run so far were made by processes that never imported the submission.
        judgements: the results of judged weights (see `is_judged`). Only an evaluator process has such results.
    """

    def __init__(
        self,
        spec: RunSpec,
        evaluator: Evaluator,
        folder: Path,
        group: ProcessGroup = SINGLE_PROCESS,
        *,
        checkpoints: Path,
        trusted: bool = False,
        keep_weights: bool = False,
    ) -> None:
        self._spec = spec
        self._evaluator = evaluator
        self._group = group
        self._folder = folder
        self._files = EvaluatorFiles(folder, spec, checkpoints)
        self._keep_weights = keep_weights
        self._early: EarlyEvaluation | None = None
        self.trusted = trusted
        self.judgements: list[Judgement] = []

    @property
    def screening(self) -> Screening | None:
        return self._evaluator.outcome

    def evaluate_early(self, model: nn.Module) -> None:
        """Evaluate the untrained model now, unless the run may resume after earlier evaluations."""
        if not self._files.exist():
            self._early = EarlyEvaluation(self._evaluator, model, 0 if self._spec.workload.facts.stages else None)

    def assess(self, model: nn.Module, pending: Point, position: Position) -> Assessment:
        spec = self._spec
        decisions = follow_first_rank(
            self._group,
            list_decisions(spec, pending, position.stage_began, position.points),
            dict[str, tuple[Target, ...]] | None,
        )
        stage = pending.stage if spec.workload.facts.stages else None
        evaluation = self._take_early(model) or self._evaluator.evaluate(model, stage=stage, decisions=decisions)
        point = _complete(pending, evaluation)
        if evaluation.screened is not None:
            self._report_differences(_complete(pending, evaluation.screened), point, position)
        # The evaluation of the untrained model ends no run.
        verdict = decide_end(spec, point, position.stage_began, position.points) if position.points else None
        stored_point, verdict = follow_first_rank(
            self._group, (finite_point(point), verdict), tuple[Point, Verdict | None]
        )
        may_advance = verdict is None and position.points and position.stage + 1 < len(spec.workload.facts.stages)
        stage_over = bool(may_advance) and is_stage_over(spec, stored_point, position.stage_began)
        assessment = Assessment(point=stored_point, verdict=verdict, stage_over=stage_over)
        if self._keep_weights and self._group.first and verdict is None and is_judged(spec, assessment, position):
            self._files.save_weights(len(position.points), model)
        return assessment

    def _take_early(self, model: nn.Module) -> Evaluation | None:
        """Return the early evaluation of the untrained model, if it exists and was made with the model's weights."""
        early, self._early = self._early, None
        return None if early is None else early.take(model)

    def _report_differences(self, screened: Point, whole: Point, position: Position) -> None:
        """Report every decision that differs between a screened and a whole evaluation of the same weights."""
        on_part, on_whole = (
            describe_decisions(self._spec, point, position.stage_began, position.points) for point in (screened, whole)
        )
        for name in sorted(on_part.keys() | on_whole.keys()):
            if on_part.get(name) != on_whole.get(name):
                self._evaluator.add_disagreement(
                    f"after {whole.examples:,} training examples, {name} {on_part.get(name, 'is not decided')} "
                    f"according to {screened.evaluated_examples} examples of the split, but "
                    f"{on_whole.get(name, 'is not decided')} according to the whole split"
                )

    def take_warnings(self) -> list[str]:
        warnings, self._evaluator.warnings = self._evaluator.warnings, []
        return warnings

    def save_final_weights(self, model: nn.Module) -> str:
        return save_weights(model, self._folder / FINAL_WEIGHTS) if self._group.first else ""

    def save(self, position: Position) -> None:
        if self._group.first:
            judgements = msgspec.json.encode(self.judgements).decode()
            state = {"evaluator": self._evaluator.state_dict(), "trusted": self.trusted, "judgements": judgements}
            self._files.save(len(position.points), {**state, **position.state_dict()})

    def restore(self, position: Position) -> Position | None:
        return self.restore_count(len(position.points))

    def restore_count(self, points: int) -> Position | None:
        """Restore the state that was stored after a number of evaluations; see `restore`."""
        state = self._files.load(points) if points else None
        if points and state is None:
            return None
        if self._group.first:
            self._files.remove_later(points)
        if state is None:
            return Position()
        self._evaluator.load_state_dict(state["evaluator"])
        self.trusted = self.trusted and state["trusted"]
        self.judgements = msgspec.json.decode(state["judgements"], type=list[Judgement])
        return Position.from_state_dict(state)


def is_judged(spec: RunSpec, assessment: Assessment, position: Position) -> bool:
    """Return whether the weights of an evaluation are judged (evaluated by a process without the submission).

    Weights are judged at the end of the run, at the end of each stage and at scored stops.

    Args:
        spec: the specification of the trial.
        assessment: the evaluation.
        position: the evaluations before it.
    """
    if assessment.verdict is not None or assessment.stage_over:
        return True
    before = position.points[-1].examples if position.points else -1
    return spec.passes_scored_stop(before, assessment.point.examples)


def follow_first_rank(group: ProcessGroup, value: T, kind: Any) -> T:
    """Return rank 0's `value` on all ranks.

    Args:
        group: the ranks of the run.
        value: this rank's value. JSON must be able to store it.
        kind: type of the value.
    """
    if group.count == 1:
        return value
    decoded: T = msgspec.json.decode(group.broadcast(msgspec.json.encode(value)), type=kind)
    return decoded


def _complete(pending: Point, evaluation: Evaluation) -> Point:
    """Return the point with the result of its evaluation."""
    return msgspec.structs.replace(
        pending, metrics=evaluation.metrics, evaluated_examples=evaluation.examples, se=evaluation.se
    )
