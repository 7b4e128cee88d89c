"""The run loop: steps on the clock, evaluations off it, a checkpoint at every evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from harness.contract.events import AnyEvent, ClockEdge, Done, Evaluated, Ready
from harness.contract.record import Environment, Usage
from harness.contract.run import Counters, Point, RunSpec
from harness.contract.workload import Split
from harness.errors import PluginError
from harness.worker import checkpoint, rng, weights
from harness.worker.clock import Clock
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup, from_bytes, to_bytes
from harness.worker.microbatch import MicrobatchedWork
from harness.worker.protocols import Sharded, Submission, Task, Workload
from harness.worker.rules import ModelGuard
from harness.worker.snapshot import Snapshots, model_flags, set_model_flags
from harness.worker.stopping import Verdict, decide_end, is_stage_over
from harness.worker.work import CountedWork


@dataclass
class Position:
    """Where a run stands, beside weights and counters: its points, and the stage of its stream."""

    points: list[Point] = field(default_factory=list)
    stage: int = 0
    stage_began: int = 0
    stage_hits: list[int] = field(default_factory=list)


class TrainingRun:
    """One trial in progress.

    Args:
        spec: the trial.
        folder: where checkpoints and weights go.
        workload, model, work, task, snapshots: what the submission trains, and through what.
        emit: receives events.
        environment, usage: for the record.
        group: the ranks that share the run. All of them go through all of this; rank 0 alone speaks and writes, and
            what depends on its clock is its word.
    """

    submission: Submission

    def __init__(
        self,
        *,
        spec: RunSpec,
        folder: Path,
        workload: Workload,
        model: nn.Module,
        work: CountedWork,
        task: Task,
        snapshots: Snapshots,
        emit: Callable[[AnyEvent], None],
        environment: Environment,
        usage: Usage,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.spec = spec
        self.group = group
        self.facts = spec.workload.facts
        self.folder = folder
        self.workload = workload
        self.model = model
        self.work = work
        self.task = task
        self.snapshots = snapshots
        self.emit = emit
        self.environment = environment
        self.usage = usage
        self.at = Position()
        self.digest = ""
        self.clock = Clock(
            _synchronizer(task.device),
            lambda running, wall, process: emit(ClockEdge(running=running, seconds=wall, process_seconds=process)),
        )
        self.guard = ModelGuard(model)

    # --- the loop --------------------------------------------------------------------------------

    def train(self) -> Done:
        """Train from where `start` left off to the end."""
        verdict: Verdict | None = None
        every, cap = self.facts.eval_every, self.facts.budget.gradient_examples
        while verdict is None:
            self.clock.resume()
            due = (self.work.examples // every + 1) * every
            while self.work.examples < due and self.work.gradient_examples < cap:
                self.work.begin_step()
                self.submission.step(self.work)
                self.work.end_step()
            verdict = self.evaluate()
        return self._done(verdict)

    def evaluate(self) -> Verdict | None:
        """Evaluate the weights that the submission offers; the verdict, when the run is over.

        The clock runs while the submission swaps its weights in and out and describes its state; it stands
        still for the evaluation itself, the checkpoint and everything else of ours.
        """
        swap_began = self.clock.now()
        with self.submission.eval_weights():
            self.group.average_buffers(self.model)
            self.clock.pause()
            point, verdict = self._decide(self._point(self._metrics("score")))
            if verdict is not None:
                self._save_weights()
            else:
                self._append_feedback(point)
            self.clock.resume()
        self.group.average_buffers(self.model)
        state = self.submission.state_dict()
        self.clock.pause()
        self.work.charge("eval_weights", self.clock.seconds - swap_began)
        self.guard.check()
        self.group.require_equal(self.model)
        self.at.points.append(point)
        if verdict is None:
            self._advance_stream(point)
            self._checkpoint(state)
        self.emit(Evaluated(point=point))
        return verdict

    def _decide(self, point: Point) -> tuple[Point, Verdict | None]:
        """The point as it is stored, and the verdict on it. The seconds are rank 0's, and so is what follows."""
        verdict = decide_end(self.spec, point, self.at.stage_began, self.at.points)
        said = self.group.broadcast(msgspec.json.encode((finite(point), verdict)) if self.group.count > 1 else b"")
        return msgspec.json.decode(said, type=tuple[Point, Verdict | None]) if said else (finite(point), verdict)

    # --- beginning and end -----------------------------------------------------------------------

    def start(self, build: Callable[[], Submission], state: dict[str, Any] | None) -> None:
        """Build the submission on the clock; then evaluate the untrained model, or take up a checkpoint."""
        with self.clock.timed():
            self.submission = build()
        self.snapshots.submission = self.submission
        if state is not None:
            self._restore_checkpoint(state)
        resumed_from = None if state is None else self.work.steps
        self.emit(
            Ready(
                environment=self.environment,
                usage=self.usage,
                points=tuple(self.at.points),
                resumed_from=resumed_from,
            )
        )
        self.guard.check()
        self.group.require_equal(self.model)
        if state is None:
            first, _ = self._decide(self._point(self._metrics("score")))
            self.at.points.append(first)
            self._append_feedback(first)
            self.emit(Evaluated(point=first))
        self.work.counting = True

    def _done(self, verdict: Verdict) -> Done:
        end, last = self.at.points[-1], len(self.at.points) - 1
        reached = verdict.status == "reached"
        stage_hits = (*self.at.stage_hits, last) if reached and self.facts.stages else tuple(self.at.stage_hits)
        return Done(
            status=verdict.status,
            reason=verdict.reason,
            hit=last if reached else None,
            stage_hits=stage_hits,
            counters=Counters(
                examples=end.examples,
                gradient_examples=end.gradient_examples,
                forward_examples=self.work.forward_examples,
                steps=end.steps,
                seconds=self.clock.seconds,
                process_seconds=self.group.all_reduce_total(self.clock.process_seconds),
            ),
            usage=msgspec.structs.replace(
                self.usage,
                peak_memory_bytes=self.group.all_reduce_max(weights.peak_memory(self.task.device)),
                optimizer_state_bytes=weights.state_bytes(self.submission.state_dict(), self.model),
            ),
            final_weights=self.digest,
            crossing_weights=self.digest if reached else "",
            profile=dict(self.work.phases),
        )

    # --- evaluation ------------------------------------------------------------------------------

    def _metrics(self, split: Split) -> dict[str, float]:
        """The workload's metrics on a split; modes, randomness and counters are left as they were."""
        began = time.perf_counter()
        counting, self.work.counting = self.work.counting, False
        randomness = rng.rng_state()
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        with torch.no_grad():
            metrics = self._evaluate_shard(split, self.at.stage if self.facts.stages else None)
        for module in training:
            module.training = True
        rng.set_rng_state(randomness)
        self.work.counting = counting
        self._add_usage(evaluation_seconds=time.perf_counter() - began)
        for target in self.facts.targets:
            if target.metric not in metrics:
                raise PluginError(f"{self.facts.id} reports no {target.metric!r} on {split}, only {sorted(metrics)}")
        return {name: float(value) for name, value in metrics.items()}

    def _evaluate_shard(self, split: Split, stage: int | None) -> dict[str, float]:
        """Every rank measures its share of the examples where the workload can; otherwise rank 0 evaluates alone."""
        workload, group = self.workload, self.group
        if group.count == 1:
            return workload.evaluate(self.model, split, stage)
        if isinstance(workload, Sharded):
            measured = group.all_gather_rows(workload.measure(self.model, split, group.shard, stage))
            return workload.metrics(measured, split, stage)
        metrics = workload.evaluate(self.model, split, stage) if group.first else {}
        return msgspec.msgpack.decode(group.broadcast(msgspec.msgpack.encode(metrics)), type=dict[str, float])

    def _point(self, metrics: dict[str, float]) -> Point:
        loss = self.work.last_loss
        return Point(
            examples=self.work.examples,
            gradient_examples=self.work.gradient_examples,
            steps=self.work.steps,
            seconds=self.clock.seconds,
            process_seconds=self.group.all_reduce_total(self.clock.process_seconds),
            metrics=metrics,
            lr=_number(getattr(self.submission, "lr", None)),
            train_loss=None if loss is None else float(loss.mean()),
            stage=self.at.stage,
        )

    def _append_feedback(self, point: Point) -> None:
        """Results on the feedback split, for a submission that asked; never where they would reveal boundaries."""
        if "feedback" in self.spec.submission.needs and (not self.facts.stages or self.facts.boundaries):
            self.task.feedback.append((point.examples, self._metrics("feedback")))

    def _advance_stream(self, point: Point) -> None:
        at, stages = self.at, self.facts.stages
        if at.stage + 1 < len(stages) and is_stage_over(self.spec, point, at.stage_began):
            at.stage_hits.append(len(at.points) - 1)
            at.stage += 1
            at.stage_began = point.examples
            self.work.advance()
            self._publish_stage()

    def _publish_stage(self) -> None:
        """Let the submission know of the current stage, where boundaries are visible."""
        if self.task.task_index is not None:
            self.task.task_index = self.at.stage
            self.task.task_began = self.at.stage_began
            if self.task.task_horizon is not None:
                self.task.task_horizon = self.facts.stages[self.at.stage].max_examples

    # --- what is written -------------------------------------------------------------------------

    def _save_weights(self) -> None:
        if not self.group.first:
            return
        began = time.perf_counter()
        self.digest = weights.save(self.model, self.folder / "final.safetensors")
        self._add_usage(checkpoint_seconds=time.perf_counter() - began)

    def _checkpoint(self, state: dict[str, Any]) -> None:
        began = time.perf_counter()
        ranks = self._rank_states()
        if not self.group.first:
            return
        checkpoint.save(
            self.folder,
            {
                "model": self.model.state_dict(),
                "flags": model_flags(self.model),
                "submission": state,
                "work": self.work.state_dict(),
                "rng": rng.rng_state(),
                "own": self.snapshots.rng.get_state(),
                "points": msgspec.json.encode(self.at.points).decode(),
                "stage": [self.at.stage, self.at.stage_began, list(self.at.stage_hits)],
                "feedback": [[n, dict(m)] for n, m in self.task.feedback],
                "clock": [self.clock.seconds, self.clock.process_seconds],
                "usage": [self.usage.evaluation_seconds, self.usage.checkpoint_seconds],
                "phases": dict(self.work.phases),
                "ranks": ranks,
            },
        )
        self._add_usage(checkpoint_seconds=time.perf_counter() - began)

    def _rank_states(self) -> list[dict[str, Any]]:
        """What differs between ranks, by rank; nothing where a pass is computed in one piece on one device."""
        if not isinstance(self.work, MicrobatchedWork):
            return []
        mine = {"work": self.work.rank_state(), "process_seconds": self.clock.process_seconds}
        return [from_bytes(said) for said in self.group.all_gather_bytes(to_bytes(mine))]

    def _restore_checkpoint(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.submission.load_state_dict(state["submission"])
        set_model_flags(self.model, state["flags"])
        self.work.load_state_dict(state["work"])
        self.work.phases.update(state["phases"])
        evaluating, saving = state["usage"]
        self.usage = msgspec.structs.replace(self.usage, evaluation_seconds=evaluating, checkpoint_seconds=saving)
        self.snapshots.rng.set_state(state["own"])
        stage, stage_began, stage_hits = state["stage"]
        self.at = Position(msgspec.json.decode(state["points"], type=list[Point]), stage, stage_began, stage_hits)
        self.task.feedback[:] = [(n, m) for n, m in state["feedback"]]
        self._publish_stage()
        # The construction just timed was paid for before the interruption.
        self.clock.seconds, self.clock.process_seconds = state["clock"]
        if isinstance(self.work, MicrobatchedWork):
            mine = state["ranks"][self.group.rank]
            self.work.load_rank_state(mine["work"])
            self.clock.process_seconds = mine["process_seconds"]
        # Last, so that nothing above can have moved it on.
        rng.set_rng_state(state["rng"])

    def _add_usage(self, **seconds: float) -> None:
        """Add to the times off the clock."""
        totals = {name: getattr(self.usage, name) + spent for name, spent in seconds.items()}
        self.usage = msgspec.structs.replace(self.usage, **totals)


def finite(point: Point) -> Point:
    """The point as it can be stored: JSON has no NaN, so what is not finite is absent (the reason names it)."""
    metrics = {name: value for name, value in point.metrics.items() if math.isfinite(value)}
    loss = point.train_loss if point.train_loss is not None and math.isfinite(point.train_loss) else None
    lr = point.lr if point.lr is not None and math.isfinite(point.lr) else None
    return msgspec.structs.replace(point, metrics=metrics, train_loss=loss, lr=lr)


def _number(value: Any) -> float | None:
    """A learning rate as a submission may state it: a number, a tensor of one, or nothing."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _synchronizer(device: torch.device) -> Callable[[], None]:
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
