"""Submissions that report better metrics than they have, and workloads that say who evaluates them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import nn
from torch.nn import functional as F

from harness.api import Batch, Split, Task, Work, WorkloadEntry
from tests import micro


class Honest:
    """It trains so slowly that its budget ends before the target."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        self.cheat()

    def cheat(self) -> None:
        """What a subclass does once, before the first step."""

    def step(self, work: Work) -> None:
        self.optimizer.zero_grad()
        work.backward(work.draw())
        self.optimizer.step()

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        yield

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def _find_run() -> Any:
    """The training loop, on the stack of the constructor."""
    from harness.worker.loop import TrainingRun

    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("self"), TrainingRun):
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals["self"]


PERFECT = {"loss": 0.0, "accuracy": 1.0}


class PatchesTheWorkload(Honest):
    """Replaces `evaluate` of the workload's class."""

    def cheat(self) -> None:
        micro.Micro.evaluate = lambda *arguments: dict(PERFECT)  # type: ignore[method-assign]


class PatchesTheLoss(Honest):
    """Replaces the functions with which the workload evaluates."""

    def cheat(self) -> None:
        real = F.cross_entropy

        def cheap(*arguments: Any, **options: Any) -> torch.Tensor:
            loss = real(*arguments, **options)
            return loss if torch.is_grad_enabled() else 0.0 * loss

        F.cross_entropy = cheap
        torch.Tensor.__float__ = lambda self: 0.0  # type: ignore[method-assign]


class PatchesTheAssessor(Honest):
    """Replaces the harness's own decision to end the run."""

    def cheat(self) -> None:
        from harness.planning.run_end import Verdict
        from harness.worker import remote_assessor
        from harness.worker.assessment import Assessment

        real = remote_assessor.RemoteAssessor.assess

        def assess(self: Any, model: Any, pending: Any, position: Any) -> Any:
            assessment = real(self, model, pending, position)
            if pending.steps < 8:
                return assessment
            point = msgspec.structs.replace(assessment.point, metrics=dict(PERFECT))
            return Assessment(point=point, verdict=Verdict("reached", "the target is met"), stage_over=False)

        remote_assessor.RemoteAssessor.assess = assess  # type: ignore[method-assign]


class PatchesTheEvents(Honest):
    """Writes perfect evaluations and a hit to the pipe of events."""

    def cheat(self) -> None:
        from harness.contract.events import Done, Evaluated
        from harness.contract.run import Counters, Point

        run = _find_run()
        point = Point(
            examples=64, gradient_examples=64, steps=4, seconds=0.01, process_seconds=0.01, metrics=dict(PERFECT)
        )
        run.emit(Evaluated(point=point))
        counters = Counters(examples=64, gradient_examples=64, steps=4, seconds=0.01, process_seconds=0.01)
        self._end: Callable[[], None] = lambda: run.emit(Done(status="reached", hit=1, counters=counters))

    def step(self, work: Work) -> None:
        super().step(work)
        if work.examples > 256:
            self._end()


class AsksTooOften(Honest):
    """Has weights evaluated that the training loop does not ask for."""

    def cheat(self) -> None:
        self._run = _find_run()

    def step(self, work: Work) -> None:
        super().step(work)
        if 64 < work.examples < 128:
            self._run._evaluate_weights()


#: The statuses with which the runs of these submissions end.
EVALUATION = {
    "PatchesTheWorkload": ("rejected",),
    "PatchesTheLoss": ("exhausted",),
    "PatchesTheAssessor": ("rejected",),
    "PatchesTheEvents": ("rejected",),
    "AsksTooOften": ("rejected",),
}


class Watched(micro.Micro):
    """Writes to the log which process trains, and which process evaluates on which split."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-watched")

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> torch.Tensor:
        print(f"{os.getpid()}:loss", file=sys.stderr, flush=True)
        return super().loss(model, batch, per_example)

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        print(f"{os.getpid()}:{split}", file=sys.stderr, flush=True)
        return super().evaluate(model, split, stage)


class Broken(micro.Micro):
    """Cannot be evaluated."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-broken")

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        raise RuntimeError("the labels are missing")


class NoAudit(micro.Micro):
    """Has no split `audit`."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-no-audit")

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        if split == "audit":
            raise KeyError(split)
        return super().evaluate(model, split, stage)


def _entry(workload: type[micro.Micro]) -> WorkloadEntry:
    load = f"{__name__}:{workload.__name__}"
    return WorkloadEntry(facts=workload.facts, load=load, summary="points", distribution="tests")


WATCHED_ENTRY, BROKEN_ENTRY, NO_AUDIT_ENTRY = map(_entry, (Watched, Broken, NoAudit))
