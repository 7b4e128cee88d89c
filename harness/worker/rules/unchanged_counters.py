"""The counters of examples and passes, and the replay buffer's capacity, are changed only by the harness.

Forbidden: changing `work.examples`, `work.gradient_examples`, `work.forward_examples` or `work.steps`, and storing more
examples in `work.replay` than the workload allows.

Why: budgets, evaluations and costs are counted in examples. The capacity of the replay buffer is part of the workload.

Instead: read the counters, and do not assign to them. Use the methods of `work.replay`.
"""

from __future__ import annotations

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule
from harness.worker.work import CountedWork


class UnchangedCounters(Rule):
    """Counts draws, passes and updates a second time, and compares the counts while the clock is stopped."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._examples = self._gradient_examples = self._forward_examples = self._steps = 0
        self._began = False

    def on_draw(self, n: int, by_index: bool, drawn_in_step: int) -> None:
        self._examples += n

    def on_forward(self, n: int) -> None:
        self._forward_examples += n

    def on_backward(self, n: int) -> None:
        self._gradient_examples += n

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        self._steps += 1

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        work = next((guarded for guarded in self.objects if isinstance(guarded, CountedWork)), None)
        if work is None:
            return
        if not self._began:  # the counters of a resumed run are those of its checkpoint
            self._began = True
            self._examples, self._gradient_examples = work.examples, work.gradient_examples
            self._steps, self._forward_examples = work.steps, work.forward_examples
        for name, counted in (
            ("examples", self._examples),
            ("gradient_examples", self._gradient_examples),
            ("forward_examples", self._forward_examples),
            ("steps", self._steps),
        ):
            value = getattr(work, name)
            if value != counted:
                raise RejectedError(f"work.{name} is {value:,} instead of {counted:,}", fix="do not assign to it")
        self._check_replay(work)

    def _check_replay(self, work: CountedWork) -> None:
        if work.replay is None:
            return
        capacity = self.spec.workload.facts.replay_capacity or 0
        # A submission may have enlarged the buffer's tensors without changing `capacity`.
        allocated = max((len(tensor) for tensor in work.replay._store.values()), default=0)
        room = max(work.replay.capacity, allocated)
        if room > capacity:
            raise RejectedError(
                f"the replay buffer has room for {room:,} examples instead of {capacity:,}",
                fix="leave work.replay.capacity as it is, and add examples with work.replay.add",
            )
