"""The evaluator, a process that evaluates the weights of one trial and never imports the submission.

The evaluator builds the workload and the model itself. It keeps the results of all evaluations, and sends them to the
supervisor. The worker receives only the decisions. Worker and evaluator use the same cores and alternate: while the
evaluator computes, the worker waits with its clock stopped. For every checkpoint of the worker, the evaluator also
stores its own state.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import torch
from torch import nn

from harness.contract.events import Evaluated, EvaluatorFailed, Judged, Restored, Warned
from harness.contract.judging import Judgement
from harness.contract.run import Job, Point, RunSpec
from harness.errors import RejectedError
from harness.worker.agreement import remember_agreement
from harness.worker.assessment import Assessment, LocalAssessor, is_judged
from harness.worker.device import rank_device, set_default_device
from harness.worker.emit import Emit
from harness.worker.evaluation import evaluate_audit, evaluate_split
from harness.worker.evaluator import Evaluator
from harness.worker.evaluator_channel import (
    AssessmentRequest,
    Channel,
    Decided,
    Resume,
    Resumed,
    Save,
    Saved,
    WorkerMessage,
)
from harness.worker.failures import describe_failure, describe_nonfinite
from harness.worker.loading import build_evaluation
from harness.worker.position import Position
from harness.worker.shared_weights import SharedWeights
from harness.worker.torch_settings import apply_numeric_settings


def run_evaluator(job: Job, emit: Emit, connection: socket.socket, cores: Collection[int] = ()) -> None:
    """Evaluate weights until the worker has ended. An error is reported to the supervisor.

    While the worker builds its run, this process builds the workload and evaluates the untrained model (see
    `early_evaluation`). During this time, an evaluator with one thread may use any core. Afterwards, it uses the
    worker's cores, and the two processes alternate.

    Args:
        job: the trial and its folder.
        emit: function that receives the results.
        connection: socket to the worker.
        cores: indices of the cores to which the worker is pinned; empty if it is not pinned.
    """
    evaluation: RunEvaluation | None = None
    try:
        spec = job.spec
        device = rank_device(0, spec)
        set_default_device(device)
        apply_numeric_settings(spec)
        workload, model = build_evaluation(spec, device)
        evaluator = Evaluator(spec, workload, shadow=job.shadow_evaluation)
        assessor = LocalAssessor(
            spec, evaluator, Path(job.evaluation_folder), checkpoints=Path(job.folder), trusted=True
        )
        weights = SharedWeights(model)
        evaluation = RunEvaluation(
            spec, model, assessor, lambda stage: evaluate_audit(workload, model, stage), emit, weights
        )
        channel = Channel(connection)
        channel.send_descriptor(weights.descriptor)
        assessor.evaluate_early(model)
        if cores:
            os.sched_setaffinity(0, cores)
        evaluation.serve(channel)
    except Exception as error:
        nonfinite = "" if evaluation is None else evaluation.describe_nonfinite(error)
        failure = describe_failure(error, job.spec, nonfinite)
        emit(EvaluatorFailed(status=failure.status, reason=failure.reason))


def warm_evaluation(spec: RunSpec) -> None:
    """Evaluate an untrained model of a trial's workload on the splits `score` and `audit`, and check the workload.

    Processes that are forked from this process then inherit the workload's modules, the data that they keep in memory,
    and the result of the check (`agreement.py`).

    Args:
        spec: a trial on the workload.
    """
    device = rank_device(0, spec)
    set_default_device(device)
    apply_numeric_settings(spec)
    workload, model = build_evaluation(spec, device)
    stage = len(spec.workload.facts.stages) - 1 if spec.workload.facts.stages else None
    evaluate_split(workload, model, "score", stage)
    remember_agreement(workload, model, stage)
    evaluate_audit(workload, model, stage)


def forbid_debugging() -> None:
    """On Linux, prevent other processes of this user from reading this process's memory and from tracing it."""
    if sys.platform == "linux":
        pr_set_dumpable = 4
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0)


class RunEvaluation:
    """The evaluations of one run in the evaluator.

    Args:
        spec: the specification of the trial.
        model: the model into which weights are copied.
        assessor: evaluates the model and decides.
        audit: function that evaluates the model on the split `audit`, given the stage. It returns the metrics and a
            warning, which may be empty.
        emit: function that receives the results.
        weights: the memory that is shared with the worker.
    """

    def __init__(
        self,
        spec: RunSpec,
        model: nn.Module,
        assessor: LocalAssessor,
        audit: Callable[[int | None], tuple[dict[str, float], str]],
        emit: Emit,
        weights: SharedWeights,
    ) -> None:
        self._spec = spec
        self._model = model
        self._assessor = assessor
        self._audit = audit
        self._emit = emit
        self._weights = weights
        self._position: Position | None = None
        self._train_loss: float | None = None
        self._ended = False

    def serve(self, channel: Channel) -> None:
        """Answer the worker's messages until the worker has ended."""
        while True:
            try:
                message = channel.receive_request()
            except EOFError:
                return
            answer = self._answer(message)
            try:
                channel.send(answer)
            except EOFError:
                return

    def _answer(self, message: WorkerMessage) -> Resumed | Decided | Saved:
        match message:
            case Resume(points=points):
                return Resumed(ready=self._restore(points))
            case AssessmentRequest(point=point):
                return self._assess(point)
            case Save():
                self._assessor.save(self._require_position())
                return Saved()

    def _restore(self, points: int) -> bool:
        if self._position is not None:
            raise _rejected("began its run a second time")
        position = self._assessor.restore_count(points)
        if position is None:
            return False
        self._position = position
        self._emit(Restored(points=tuple(position.points)))
        return True

    def _assess(self, pending: Point) -> Decided:
        position = self._require_position()
        self._check_schedule(pending, position)
        self._train_loss = pending.train_loss
        self._weights.read(self._model)
        assessment = self._assessor.assess(self._model, pending, position)
        if is_judged(self._spec, assessment, position):
            self._judge(assessment, len(position.points))
        position.points.append(assessment.point)
        for warning in self._assessor.take_warnings():
            self._emit(Warned(message=warning))
        self._emit(Evaluated(point=assessment.point))
        if assessment.verdict is not None:
            self._end(assessment, position)
        elif assessment.stage_over:
            position.advance()
        return Decided(verdict=assessment.verdict, stage_over=assessment.stage_over)

    def _judge(self, assessment: Assessment, index: int) -> None:
        """Evaluate the weights on the split `audit`. Keep the metrics on `audit` and on `score` as a judgement."""
        point = assessment.point
        if assessment.verdict is not None and assessment.verdict.status == "diverged":
            return
        audit, warning = self._audit(point.stage if self._spec.workload.facts.stages else None)
        if warning:
            self._assessor.trusted = False
            self._emit(Warned(message=warning))
        self._assessor.judgements.append(Judgement(point=index, score=point.metrics, audit=audit))

    def _end(self, assessment: Assessment, position: Position) -> None:
        """Store the final weights, and report the end of the run."""
        verdict = assessment.verdict
        assert verdict is not None
        self._ended = True
        final_weights = self._assessor.save_final_weights(self._model)
        reached = verdict.status == "reached"
        judgements = self._assessor.judgements
        if judgements and judgements[-1].point == len(position.points) - 1:
            judgements[-1] = msgspec.structs.replace(judgements[-1], weights=final_weights)
        self._emit(
            Judged(
                status=verdict.status,
                reason=verdict.reason,
                hit=len(position.points) - 1 if reached else None,
                stage_hits=position.list_stage_hits(reached) if self._spec.workload.facts.stages else (),
                final_weights=final_weights,
                crossing_weights=final_weights if reached else "",
                screening=self._assessor.screening,
                judgements=tuple(judgements),
                trust="evaluated" if self._assessor.trusted else "self-reported",
            )
        )

    def describe_nonfinite(self, error: BaseException) -> str:
        """Return which value is not finite; see `harness.worker.failures.describe_nonfinite`."""
        loss = None if self._train_loss is None else torch.tensor(self._train_loss)
        return describe_nonfinite(self._model, loss, error)

    # --- what a worker may ask --------------------------------------------------------------------

    def _require_position(self) -> Position:
        if self._position is None or self._ended:
            raise _rejected("asked for an evaluation before the beginning or after the end of its run")
        return self._position

    def _check_schedule(self, pending: Point, position: Position) -> None:
        """Check that an evaluation is due.

        Without this check, a submission could request evaluations of any weights on the split `score`.

        Raises:
            RejectedError: the training loop would not ask for an evaluation at this point of the run.
        """
        facts = self._spec.workload.facts
        if not position.points:
            if pending.examples or pending.steps:
                raise _rejected("did not begin with the untrained model")
            return
        earlier = position.points[-1]
        due = (earlier.examples // facts.eval_every + 1) * facts.eval_every
        is_spent = pending.gradient_examples >= facts.budget.gradient_examples
        if pending.stage != position.stage or (pending.examples < due and not is_spent):
            raise _rejected(f"asked for an evaluation at {pending.examples:,} examples, the next is at {due:,}")


def _rejected(action: str) -> RejectedError:
    return RejectedError(f"the worker {action}", fix="leave the evaluations to the training loop")
