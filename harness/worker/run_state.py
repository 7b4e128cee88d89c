"""The state of a run. Checkpoints save and restore it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from torch import nn

from harness.contract.record import Usage
from harness.contract.run import RunSpec
from harness.worker import rng
from harness.worker.clock import Clock
from harness.worker.distributed.collectives import ProcessGroup, from_bytes, to_bytes
from harness.worker.position import Position
from harness.worker.protocols import Submission, Task
from harness.worker.snapshot import Snapshots, model_flags, set_model_flags
from harness.worker.work import CountedWork


@dataclass(kw_only=True)
class RunState:
    """The objects of a run whose state changes during training, except the submission.

    Args:
        spec: the specification of the trial.
        model: the model.
        work: draws data and computes passes for the submission.
        task: information about the run, for the submission.
        snapshots: takes and restores the submission's snapshots.
        clock: the run's clock.
        group: the ranks (processes) of the run.
        usage: the resources used so far, for the record.
        position: the progress of the run.
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
        """Add wall seconds to fields of `usage`. The seconds were spent while the clock was stopped.

        Args:
            seconds: the seconds to add, by name of the field.
        """
        totals = {name: getattr(self.usage, name) + spent for name, spent in seconds.items()}
        self.usage = msgspec.structs.replace(self.usage, **totals)

    def advance_stage(self) -> None:
        """Advance to the stream's next stage. The last evaluation ended the current stage."""
        self.position.advance()
        self.work.advance()
        self._publish_stage()

    def set_position(self, position: Position) -> None:
        """Set the progress of the run, at its beginning or after a checkpoint was restored."""
        self.position = position
        self._publish_stage()

    def _publish_stage(self) -> None:
        """Update the current stage in the task, if the submission may see the stage boundaries."""
        if self.task.task_index is not None:
            self.task.task_index = self.position.stage
            self.task.task_began = self.position.stage_began
            if self.task.task_horizon is not None:
                self.task.task_horizon = self.spec.workload.facts.stages[self.position.stage].max_examples

    # --- checkpoints -----------------------------------------------------------------------------

    def gather_rank_states(self) -> list[dict[str, Any]]:
        """Return the states that differ between ranks, in the order of ranks.

        The list is empty if one device computes whole batches, since there is no such state then.
        """
        work_state = self.work.rank_state()
        if work_state is None:
            return []
        rank_state = {"work": work_state, "process_seconds": self.clock.process_seconds}
        return [from_bytes(payload) for payload in self.group.all_gather_bytes(to_bytes(rank_state))]

    def state_dict(
        self, model: dict[str, Any], submission: dict[str, Any], ranks: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the content of a checkpoint. It consists of tensors, scalars, strings, lists and dicts.

        Args:
            model: the return value of the model's `state_dict()`, which was called while the clock ran.
            submission: the return value of the submission's `state_dict()`.
            ranks: the return value of `gather_rank_states`.
        """
        clock, usage = self.clock, self.usage
        return {
            "model": model,
            "flags": model_flags(self.model),
            "submission": submission,
            "work": self.work.state_dict(),
            "rng": rng.rng_state(),
            "own": self.snapshots.rng.get_state(),  # the generator that the task provides to the submission
            **self.position.state_dict(),
            "feedback": [[examples, dict(metrics)] for examples, metrics in self.task.feedback],
            "clock": [clock.seconds, clock.process_seconds],
            "usage": [usage.evaluation_seconds, usage.checkpoint_seconds],
            "phases": dict(self.work.phases),
            "ranks": ranks,
        }

    def load_state_dict(self, state: dict[str, Any], submission: Submission) -> None:
        """Restore a checkpoint, except for the position (see `set_position`).

        Args:
            state: the return value of `state_dict`.
            submission: the newly constructed submission, whose state is also restored.
        """
        # The submission may have put hooks on the model, so the clock also runs while the model is loaded.
        with self.clock.timed("loading", then="start"):
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
        self.task.feedback[:] = [(examples, metrics) for examples, metrics in state["feedback"]]
        # The run is also charged for constructing the submission and loading its state in this process.
        seconds, process_seconds = state["clock"]
        if state["ranks"]:
            rank_state = state["ranks"][self.group.rank]
            self.work.load_rank_state(rank_state["work"])
            process_seconds = rank_state["process_seconds"]
        self.clock.add(seconds, process_seconds)
        # The generators are restored last, since the code above may draw random numbers.
        rng.set_rng_state(state["rng"])
