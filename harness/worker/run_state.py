"""The state of a run: what a checkpoint holds, and how it is restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from torch import nn

from harness.contract.record import Usage
from harness.contract.run import Point, RunSpec
from harness.worker import rng
from harness.worker.clock import Clock
from harness.worker.distributed.collectives import ProcessGroup, from_bytes, to_bytes
from harness.worker.protocols import Submission, Task
from harness.worker.snapshot import Snapshots, model_flags, set_model_flags
from harness.worker.work import CountedWork


@dataclass
class Position:
    """Where a run stands in its evaluations and in the stages of its stream.

    Args:
        points: the evaluations so far.
        stage: the current stage, from 0.
        stage_began: examples drawn when it began.
        stage_hits: for every stage that has ended, the index of the point that ended it.
    """

    points: list[Point] = field(default_factory=list)
    stage: int = 0
    stage_began: int = 0
    stage_hits: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class RunState:
    """The parts of a run that change while it trains, beside its submission.

    Args:
        spec: the trial.
        model, work, task, snapshots: what the submission trains, and through what.
        clock: the run's clock.
        group: the ranks of the run.
        usage: resources so far, for the record.
        position: evaluations and stages so far.
    """

    spec: RunSpec
    model: nn.Module
    work: CountedWork
    task: Task
    snapshots: Snapshots
    clock: Clock
    group: ProcessGroup
    usage: Usage
    position: Position = field(default_factory=Position)

    def add_usage(self, **seconds: float) -> None:
        """Add to the seconds of `Usage` by name; these are off the clock."""
        totals = {name: getattr(self.usage, name) + spent for name, spent in seconds.items()}
        self.usage = msgspec.structs.replace(self.usage, **totals)

    def advance_stage(self, point: Point) -> None:
        """Go on to the stream's next stage after an evaluation that ended the current one."""
        position = self.position
        position.stage_hits.append(len(position.points) - 1)
        position.stage += 1
        position.stage_began = point.examples
        self.work.advance()
        self._publish_stage()

    def _publish_stage(self) -> None:
        """Tell the submission the current stage, where boundaries are visible."""
        if self.task.task_index is not None:
            self.task.task_index = self.position.stage
            self.task.task_began = self.position.stage_began
            if self.task.task_horizon is not None:
                self.task.task_horizon = self.spec.workload.facts.stages[self.position.stage].max_examples

    # --- checkpoints -----------------------------------------------------------------------------

    def gather_rank_states(self) -> list[dict[str, Any]]:
        """What differs between ranks, by rank; empty where a pass is computed in one piece on one device."""
        work_state = self.work.rank_state()
        if work_state is None:
            return []
        rank_state = {"work": work_state, "process_seconds": self.clock.process_seconds}
        return [from_bytes(payload) for payload in self.group.all_gather_bytes(to_bytes(rank_state))]

    def state_dict(self, submission: dict[str, Any], ranks: list[dict[str, Any]]) -> dict[str, Any]:
        """The content of a checkpoint, as tensors, scalars, strings, lists and dicts.

        Args:
            submission: the submission's `state_dict`, taken on the clock.
            ranks: what `gather_rank_states` returned.
        """
        position, clock, usage = self.position, self.clock, self.usage
        return {
            "model": self.model.state_dict(),
            "flags": model_flags(self.model),
            "submission": submission,
            "work": self.work.state_dict(),
            "rng": rng.rng_state(),
            "own": self.snapshots.rng.get_state(),
            "points": msgspec.json.encode(position.points).decode(),
            "stage": [position.stage, position.stage_began, list(position.stage_hits)],
            "feedback": [[examples, dict(metrics)] for examples, metrics in self.task.feedback],
            "clock": [clock.seconds, clock.process_seconds],
            "usage": [usage.evaluation_seconds, usage.checkpoint_seconds],
            "phases": dict(self.work.phases),
            "ranks": ranks,
        }

    def load_state_dict(self, state: dict[str, Any], submission: Submission) -> None:
        """Go on from a checkpoint.

        Args:
            state: what `state_dict` returned.
            submission: newly constructed; its state is restored, too.
        """
        self.model.load_state_dict(state["model"])
        submission.load_state_dict(state["submission"])
        set_model_flags(self.model, state["flags"])
        self.work.load_state_dict(state["work"])
        self.work.phases.update(state["phases"])
        evaluation_seconds, checkpoint_seconds = state["usage"]
        self.usage = msgspec.structs.replace(
            self.usage, evaluation_seconds=evaluation_seconds, checkpoint_seconds=checkpoint_seconds
        )
        self.snapshots.rng.set_state(state["own"])
        stage, stage_began, stage_hits = state["stage"]
        points = msgspec.json.decode(state["points"], type=list[Point])
        self.position = Position(points, stage, stage_began, stage_hits)
        self.task.feedback[:] = [(examples, metrics) for examples, metrics in state["feedback"]]
        self._publish_stage()
        # The construction that was just timed was paid for before the interruption.
        self.clock.seconds, self.clock.process_seconds = state["clock"]
        if state["ranks"]:
            rank_state = state["ranks"][self.group.rank]
            self.work.load_rank_state(rank_state["work"])
            self.clock.process_seconds = rank_state["process_seconds"]
        # Last, so that nothing above can have moved it on.
        rng.set_rng_state(state["rng"])
