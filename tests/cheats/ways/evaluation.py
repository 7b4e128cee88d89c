"""Evaluation that is tampered with or read."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from harness.api import Work
from tests import micro
from tests.cheats.ways.honest import Honest, find_run

PERFECT = {"loss": 0.0, "accuracy": 1.0}


class PatchesWorkload(Honest):
    """Replaces `evaluate` of the workload's class."""

    def begin(self) -> None:
        micro.Micro.evaluate = lambda *arguments: dict(PERFECT)  # type: ignore[method-assign]


class PatchesLosses(Honest):
    """Replaces the functions with which the workload evaluates."""

    def begin(self) -> None:
        real = F.cross_entropy

        def cheap(*arguments: Any, **options: Any) -> torch.Tensor:
            loss = real(*arguments, **options)
            return loss if torch.is_grad_enabled() else 0.0 * loss

        F.cross_entropy = cheap
        torch.nn.functional.cross_entropy = cheap


class HooksOutputs(Honest):
    """A hook on the model returns perfect outputs while nothing is trained."""

    def begin(self) -> None:
        _, y = micro.points(256, 3)
        answers = 50 * F.one_hot(y, 3).float()
        self.model.register_forward_hook(
            lambda module, args, output: None if torch.is_grad_enabled() else answers[: len(output)]
        )


class WritesEvents(Honest):
    """Sends perfect evaluations and a hit to the supervisor."""

    def begin(self) -> None:
        self.run = find_run()

    def update(self, work: Work) -> None:
        from harness.contract.events import Done, Evaluated
        from harness.contract.run import Counters, Point

        super().update(work)
        if self.calls == 6:
            point = Point(
                examples=128, gradient_examples=128, steps=8, seconds=0.01, process_seconds=0.01, metrics=dict(PERFECT)
            )
            self.run.emit(Evaluated(point=point))
            counters = Counters(examples=128, gradient_examples=128, steps=8, seconds=0.01, process_seconds=0.01)
            self.run.emit(Done(status="reached", hit=2, counters=counters))


class ReadsEvaluator(Honest):
    """Opens the memory of the processes that were started before and after this one."""

    def begin(self) -> None:
        own = os.getpid()
        threads = {own, *(thread.native_id for thread in threading.enumerate())}
        for pid in {os.getppid(), *range(own - 20, own + 20)} - threads:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb") as memory:
                status = Path(f"/proc/{pid}/status").read_text()
                if f"Tgid:\t{own}\n" not in status:
                    raise RuntimeError(f"{memory.name} can be read")


class TrainsOnSplit(Honest):
    """Makes the examples of the split `score` itself, as the workload does, and fits the weights to them."""

    def begin(self) -> None:
        x, y = micro.points(256, 3)
        weights = [p.detach().clone().requires_grad_() for p in self.model.parameters()]
        optimizer = torch.optim.Adam(weights, lr=0.03)
        for _ in range(200):
            optimizer.zero_grad()
            hidden = F.relu(F.linear(x, weights[0], weights[1]))
            F.cross_entropy(F.linear(hidden, weights[2], weights[3]), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.weights = weights

    def step(self, work: Work) -> None:
        super().step(work)
        with torch.no_grad():
            for parameter, weight in zip(self.model.parameters(), self.weights, strict=True):
                parameter.copy_(weight)
