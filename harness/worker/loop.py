"""The training loop: steps on the clock, evaluations off it, a checkpoint at every evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.events import Done, Evaluated, Ready
from harness.contract.record import Environment
from harness.contract.run import Counters, Point
from harness.contract.workload import Split
from harness.worker import checkpoint
from harness.worker.emit import Emit
from harness.worker.evaluation import evaluate_split
from harness.worker.memory import peak_memory, state_bytes
from harness.worker.points import finite_point, learning_rate
from harness.worker.protocols import Submission, Workload
from harness.worker.rule import RuleChecker
from harness.worker.run_state import RunState
from harness.worker.stopping import Verdict, decide_end, is_stage_over
from harness.worker.weights import save_weights


class TrainingRun:
    """One trial in progress.

    With several ranks, each of them runs all of this; rank 0 alone writes files and emits events, and decisions that
    depend on the clock are rank 0's.

    Args:
        state: the parts that change while it trains, `state.spec` the trial.
        folder: where checkpoints and weights go.
        workload: evaluates the model.
        rules: checked whenever the clock stands still.
        environment: for the record.
        emit: receives events.
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
        emit: Emit,
    ) -> None:
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
        self.emit = emit
        self.final_weights = ""
        rules.before_construction(state.model, state.group)

    def start(self, construct_submission: Callable[[], Submission], checkpointed: dict[str, Any] | None) -> None:
        """Construct the submission on the clock; then evaluate the untrained model, or go on from a checkpoint."""
        state = self.state
        with self.clock.timed():
            self.submission = construct_submission()
        state.snapshots.submission = self.submission
        if checkpointed is not None:
            state.load_state_dict(checkpointed, self.submission)
        points = tuple(state.position.points)
        resumed_from = None if checkpointed is None else self.work.steps
        self.emit(Ready(environment=self.environment, usage=state.usage, points=points, resumed_from=resumed_from))
        self.rules.at_pause(state.model, self.group)
        if checkpointed is None:
            first, _ = self._decide(self._evaluated_point())
            state.position.points.append(first)
            self._append_feedback(first)
            self.emit(Evaluated(point=first))
        self.work.counting = True

    def train(self) -> Done:
        """Train to the end of the run, from where `start` left off."""
        verdict: Verdict | None = None
        every, cap = self.facts.eval_every, self.facts.budget.gradient_examples
        work, submission = self.work, self.submission
        while verdict is None:
            self.clock.resume()
            due = (work.examples // every + 1) * every
            while work.examples < due and work.gradient_examples < cap:
                work.begin_step()
                submission.step(work)
                work.end_step()
            verdict = self._evaluate()
        return self._end(verdict)

    def _evaluate(self) -> Verdict | None:
        """Evaluate the weights that the submission offers; the verdict, when the run is over.

        The clock runs while the submission swaps its weights in and out and describes its state. It stands still for
        everything of the harness: the evaluation itself, the rules, the checkpoint.
        """
        state, model = self.state, self.state.model
        swap_began = self.clock.now()
        with self.submission.eval_weights():
            self.group.average_buffers(model)
            self.clock.pause()
            point, verdict = self._decide(self._evaluated_point())
            if verdict is not None:
                self._save_final_weights()
            else:
                self._append_feedback(point)
            self.clock.resume()
        self.group.average_buffers(model)
        submission_state = self.submission.state_dict()
        self.clock.pause()
        self.work.charge("eval_weights", self.clock.seconds - swap_began)
        self.rules.at_pause(model, self.group)
        state.position.points.append(point)
        if verdict is None:
            if self._is_next_stage_due(point):
                state.advance_stage(point)
            self._save_checkpoint(submission_state)
        self.emit(Evaluated(point=point))
        return verdict

    # --- evaluation ------------------------------------------------------------------------------

    def _evaluated_point(self) -> Point:
        """The point of the weights that the model holds now."""
        metrics = self._metrics("score")
        loss = self.work.last_loss
        return Point(
            examples=self.work.examples,
            gradient_examples=self.work.gradient_examples,
            steps=self.work.steps,
            seconds=self.clock.seconds,
            process_seconds=self.group.all_reduce_float(self.clock.process_seconds),
            metrics=metrics,
            lr=learning_rate(self.submission),
            train_loss=None if loss is None else float(loss.mean()),
            stage=self.state.position.stage,
        )

    def _metrics(self, split: Split) -> dict[str, float]:
        began = time.perf_counter()
        stage = self.state.position.stage if self.facts.stages else None
        with self.work.uncounted():
            metrics = evaluate_split(self.workload, self.state.model, split, stage, self.group)
        self.state.add_usage(evaluation_seconds=time.perf_counter() - began)
        return metrics

    def _append_feedback(self, point: Point) -> None:
        """Metrics on the feedback split, for a submission that needs them; never where they would reveal boundaries."""
        if "feedback" in self.spec.submission.needs and (not self.facts.stages or self.facts.boundaries):
            self.state.task.feedback.append((point.examples, self._metrics("feedback")))

    def _decide(self, point: Point) -> tuple[Point, Verdict | None]:
        """The point as it is stored, and the verdict on it. Both are rank 0's, since its clock counts."""
        position = self.state.position
        verdict = decide_end(self.spec, point, position.stage_began, position.points)
        stored = finite_point(point)
        if self.group.count == 1:
            return stored, verdict
        payload = self.group.broadcast(msgspec.json.encode((stored, verdict)))
        return msgspec.json.decode(payload, type=tuple[Point, Verdict | None])

    def _is_next_stage_due(self, point: Point) -> bool:
        position, stages = self.state.position, self.facts.stages
        return position.stage + 1 < len(stages) and is_stage_over(self.spec, point, position.stage_began)

    # --- files -----------------------------------------------------------------------------------

    def _save_final_weights(self) -> None:
        if self.group.first:
            began = time.perf_counter()
            self.final_weights = save_weights(self.state.model, self.folder / "final.safetensors")
            self.state.add_usage(checkpoint_seconds=time.perf_counter() - began)

    def _save_checkpoint(self, submission_state: dict[str, Any]) -> None:
        began = time.perf_counter()
        ranks = self.state.gather_rank_states()
        if self.group.first:
            checkpoint.save(self.folder, self.state.state_dict(submission_state, ranks))
            self.state.add_usage(checkpoint_seconds=time.perf_counter() - began)

    # --- the end ---------------------------------------------------------------------------------

    def _end(self, verdict: Verdict) -> Done:
        """The last event of a run that came to its end."""
        position, model = self.state.position, self.state.model
        last_point, last = position.points[-1], len(position.points) - 1
        reached = verdict.status == "reached"
        stage_hits = (*position.stage_hits, last) if reached and self.facts.stages else tuple(position.stage_hits)
        return Done(
            status=verdict.status,
            reason=verdict.reason,
            hit=last if reached else None,
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
        )
