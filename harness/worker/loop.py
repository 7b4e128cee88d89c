"""The training loop, which alternates between training steps and evaluations.

The run's clock measures the scored time: it runs during steps and is stopped during evaluations. After an evaluation
that does not end the run, a checkpoint is written if this takes little time (`CHECKPOINT_SHARE`). docs/architecture.md
lists what is on the clock and what is off the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.events import Done, Evaluated, PhaseBegan, Ready, Warned
from harness.contract.record import Environment
from harness.contract.run import Counters, Point
from harness.planning.run_end import Verdict
from harness.storage.layout import run_id
from harness.worker import checkpoint
from harness.worker.assessment import Assessment, Assessor, follow_first_rank
from harness.worker.emit import Emit
from harness.worker.evaluation import evaluate_split
from harness.worker.memory import peak_memory, state_bytes
from harness.worker.points import gradient_norm, learning_rate
from harness.worker.position import Position
from harness.worker.protocols import Submission, Workload
from harness.worker.rule import RuleChecker
from harness.worker.run_state import RunState

#: Largest fraction of wall time that checkpoints may take. For a small model with short intervals between evaluations,
#: a checkpoint at every evaluation would take longer than the training.
CHECKPOINT_SHARE = 0.01
#: Assumed wall seconds of the first checkpoint. A run that ends before 0.05 s / 0.01 = 5 s writes no checkpoint.
FIRST_CHECKPOINT_S = 0.05
#: Assumed wall seconds per byte of the submission's state before the first checkpoint. With a state of 1 GB, the first
#: checkpoint is written after 200 s.
CHECKPOINT_S_PER_BYTE = 2e-9


class TrainingRun:
    """The run of one trial, from the construction of the submission to the last evaluation.

    With several ranks (processes), every rank runs this code. Only rank 0 writes files and emits events. The decision
    to end the run depends on the clock, so rank 0 makes this decision for all ranks.

    Args:
        state: the state of the run, with the specification of the trial.
        folder: the worker's folder, for checkpoints and, if this process evaluates, for the final weights.
        workload: evaluates the model on the feedback split.
        rules: checks the rules for submissions.
        environment: description of the machine and the software, for the record.
        assessor: evaluates the model on the score split, and decides whether the run is over.
        emit: function that receives the run's events.
        grad_norm: whether evaluations contain the norm of the gradients.
        checkpoint_share: see `Job`.
    """

    submission: Submission

    def __init__(
        self,
        *,
        state: RunState,
        folder: Path,
        workload: Workload,
        rules: RuleChecker,
        environment: Environment,
        assessor: Assessor,
        emit: Emit,
        grad_norm: bool = False,
        checkpoint_share: float | None = None,
    ) -> None:
        self.grad_norm = grad_norm
        self.checkpoint_share = CHECKPOINT_SHARE if checkpoint_share is None else checkpoint_share
        self.state = state
        self.spec = state.spec
        self.facts = state.spec.workload.facts
        self.work = state.work
        self.clock = state.clock
        self.group = state.group
        self.folder = folder
        self.workload = workload
        self.rules = rules
        self.environment = environment
        self.assessor = assessor
        self.emit = emit
        self.final_weights = ""
        # The wall seconds of the last checkpoint, and its end. Before the first checkpoint, both values are assumed.
        self._checkpoint_seconds, self._checkpoint_ended = FIRST_CHECKPOINT_S, time.perf_counter()
        self._has_checkpoint = False
        rules.guard(state.work, state.clock, state.snapshots, assessor, workload)
        rules.before_construction(state.model, state.group)

    def start(self, construct_submission: Callable[[], Submission], checkpointed: dict[str, Any] | None) -> None:
        """Construct the submission while the clock runs. Then evaluate the untrained model, or restore a checkpoint.

        Args:
            construct_submission: function that constructs and returns the submission.
            checkpointed: the content of the checkpoint to restore; None for a new run.
        """
        state = self.state
        checkpointed, position = self._restore_evaluations(checkpointed)
        with self.clock.timed("construction", then="start"):
            self.submission = construct_submission()
        state.snapshots.submission = self.submission
        if checkpointed is not None:
            state.load_state_dict(checkpointed, self.submission)
        state.set_position(position)
        points = tuple(state.position.points)
        resumed_from = None if checkpointed is None else self.work.steps
        self.emit(Ready(environment=self.environment, usage=state.usage, points=points, resumed_from=resumed_from))
        self.rules.at_pause(state.model, self.group)
        if checkpointed is None:
            self.emit(PhaseBegan(phase="evaluation"))
            self.rules.at_evaluation(state.model)
            first = self._evaluate_weights()
            state.position.points.append(first.point)
            self._append_feedback(first.point)
            self.emit(Evaluated(point=first.point))
        self.work.counting = True

    def _restore_evaluations(self, checkpointed: dict[str, Any] | None) -> tuple[dict[str, Any] | None, Position]:
        """Restore the evaluations that belong to a checkpoint.

        Returns:
            The checkpoint and its evaluations, or None and no evaluations if the run starts from the beginning.
        """
        if checkpointed is not None:
            position = self.assessor.restore(Position.from_state_dict(checkpointed))
            if position is not None:
                return checkpointed, position
            if self.group.first:
                text = "the results of the evaluations before the checkpoint are missing or damaged"
                self.emit(Warned(message=f"{text}; the run starts from the beginning"))
        position = self.assessor.restore(Position())
        assert position is not None
        return None, position

    def train(self) -> Done:
        """Train until the run ends, and return the run's last event. Call `start` first."""
        verdict: Verdict | None = None
        eval_every, gradient_budget = self.facts.eval_every, self.facts.budget.gradient_examples
        work, submission = self.work, self.submission
        self.clock.resume("first batch")
        is_first = True
        while verdict is None:
            if not self.clock.running:
                self.clock.resume("training")
            next_evaluation = (work.examples // eval_every + 1) * eval_every
            while work.examples < next_evaluation and work.gradient_examples < gradient_budget:
                work.begin_step()
                submission.step(work)
                work.end_step()
                if is_first:
                    self.clock.begin_phase("training")
                    is_first = False
            verdict = self._evaluate()
        return self._done_event(verdict)

    def _evaluate(self) -> Verdict | None:
        """Evaluate the submission's evaluation weights. Then save the final weights or a checkpoint.

        The clock runs while the submission swaps its evaluation weights in and out, and while it returns its state.
        The clock is stopped during the evaluation, the rule checks and the writing of files.

        Returns:
            The verdict if the run is over, else None.
        """
        state, model = self.state, self.state.model
        self.clock.begin_phase("averaging")
        swap_began = self.clock.now()
        self.work.begin_evaluation()
        with self.submission.eval_weights():
            self.group.average_buffers(model)
            self.clock.pause("evaluation")
            self.rules.at_evaluation(model)
            assessment = self._evaluate_weights()
            point, verdict = assessment.point, assessment.verdict
            if verdict is not None:
                self._save_final_weights()
            else:
                self._append_feedback(point)
            self.clock.resume("averaging")
        self.group.average_buffers(model)
        self.clock.begin_phase("state")
        submission_state, model_state = self.submission.state_dict(), model.state_dict()
        self.clock.pause("checkpoint")
        self.work.charge("eval_weights", self.clock.seconds - swap_began)
        self.rules.at_pause(model, self.group)
        state.position.points.append(point)
        if verdict is None:
            if assessment.stage_over:
                state.advance_stage()
            if self._is_checkpoint_due(submission_state):
                self._save_checkpoint(model_state, submission_state)
            else:
                # The state is checked at every evaluation, so that a rejection does not depend on when checkpoints are
                # written.
                checkpoint.require_plain(submission_state, "state['submission']")
        self.emit(Evaluated(point=point))
        return verdict

    # --- evaluation ------------------------------------------------------------------------------

    def _evaluate_weights(self) -> Assessment:
        """Evaluate the model's current weights on the score split, or on a part that suffices for all decisions."""
        position = self.state.position
        loss = self.work.last_loss
        pending = Point(
            examples=self.work.examples,
            gradient_examples=self.work.gradient_examples,
            steps=self.work.steps,
            seconds=self.clock.seconds,
            process_seconds=self.group.all_reduce_float(self.clock.process_seconds),
            metrics={},
            lr=learning_rate(self.submission),
            train_loss=None if loss is None else float(loss.mean()),
            stage=position.stage,
            mean_train_loss=self.work.take_mean_loss(),
            grad_norm=gradient_norm(self.state.model) if self.grad_norm else None,
        )
        began = time.perf_counter()
        with self.work.pause_counting():
            assessment = self.assessor.assess(self.state.model, pending, position)
        self.state.add_usage(evaluation_seconds=time.perf_counter() - began)
        for warning in self.assessor.take_warnings():
            self.emit(Warned(message=warning))
        return assessment

    def _stage(self) -> int | None:
        return self.state.position.stage if self.facts.stages else None

    def _measure_feedback(self) -> dict[str, float]:
        began = time.perf_counter()
        with self.work.pause_counting():
            metrics = evaluate_split(self.workload, self.state.model, "feedback", self._stage(), self.group)
        self.state.add_usage(evaluation_seconds=time.perf_counter() - began)
        return metrics

    def _append_feedback(self, point: Point) -> None:
        """Evaluate the model on the feedback split for the submission, if the submission declares the need `feedback`.

        On a stream with hidden stage boundaries, the submission gets no metrics: they would reveal the boundaries.
        """
        if "feedback" in self.spec.submission.needs and (not self.facts.stages or self.facts.boundaries):
            self.state.task.feedback.append((point.examples, self._measure_feedback()))

    # --- files -----------------------------------------------------------------------------------

    def _save_final_weights(self) -> None:
        began = time.perf_counter()
        self.final_weights = self.assessor.save_final_weights(self.state.model)
        self.state.add_usage(checkpoint_seconds=time.perf_counter() - began)

    def _is_checkpoint_due(self, submission_state: dict[str, Any]) -> bool:
        """Return whether the last checkpoint's duration is at most `checkpoint_share` of the time since its end.

        Before the first checkpoint, a duration is assumed that grows with the size of the submission's state.
        """
        available = (time.perf_counter() - self._checkpoint_ended) * self.checkpoint_share
        is_due = available >= self._checkpoint_seconds
        if is_due and not self._has_checkpoint:
            is_due = available >= CHECKPOINT_S_PER_BYTE * state_bytes(submission_state, self.state.model)
        return follow_first_rank(self.group, is_due, bool)

    def _save_checkpoint(self, model_state: dict[str, Any], submission_state: dict[str, Any]) -> None:
        began = time.perf_counter()
        ranks = self.state.gather_rank_states()
        if self.group.first:
            content = self.state.state_dict(model_state, submission_state, ranks)
            checkpoint.stage(self.folder, content, run_id(self.spec))
            self.assessor.save(self.state.position)
            checkpoint.commit(self.folder)
            self.state.add_usage(checkpoint_seconds=time.perf_counter() - began)
        self._checkpoint_ended = time.perf_counter()
        self._checkpoint_seconds, self._has_checkpoint = self._checkpoint_ended - began, True

    # --- end of the run ----------------------------------------------------------------------------

    def _done_event(self, verdict: Verdict) -> Done:
        """Return the last event of a run that ended without an error."""
        position, model = self.state.position, self.state.model
        last_point, last_index = position.points[-1], len(position.points) - 1
        reached = verdict.status == "reached"
        stage_hits = position.list_stage_hits(reached) if self.facts.stages else ()
        return Done(
            status=verdict.status,
            reason=verdict.reason,
            hit=last_index if reached else None,
            stage_hits=stage_hits,
            counters=Counters(
                examples=last_point.examples,
                gradient_examples=last_point.gradient_examples,
                forward_examples=self.work.forward_examples,
                steps=last_point.steps,
                seconds=self.clock.seconds,
                process_seconds=self.group.all_reduce_float(self.clock.process_seconds),
            ),
            usage=msgspec.structs.replace(
                self.state.usage,
                peak_memory_bytes=self.group.all_reduce_max(peak_memory(self.state.task.device)),
                optimizer_state_bytes=state_bytes(self.submission.state_dict(), model),
            ),
            final_weights=self.final_weights,
            crossing_weights=self.final_weights if reached else "",
            profile=dict(self.work.phases),
            screening=self.assessor.screening,
        )
