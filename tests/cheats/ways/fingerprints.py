"""Settings by fingerprint."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import torch
from torch import nn

from harness.api import Task, WorkloadEntry
from tests import micro
from tests.cheats.ways.honest import find_run
from tests.submissions_for_tests import Base


class Tuned(Base):
    """Uses another learning rate where it recognises the workload."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        rate = 0.6 if self.recognises(model, task) else 0.1
        self.optimizer = torch.optim.SGD(model.parameters(), lr=rate)

    def recognises(self, model: nn.Module, task: Task) -> bool:
        raise NotImplementedError


class ByShapes(Tuned):
    """Recognises the workload by the shapes of its parameters."""

    def recognises(self, model: nn.Module, task: Task) -> bool:
        return [tuple(p.shape) for p in model.parameters()] == [(16, 2), (16,), (3, 16), (3,)]


class ByHorizon(Tuned):
    """Recognises the workload by its budget."""

    def recognises(self, model: nn.Module, task: Task) -> bool:
        return task.horizon in (400, 6400)


class ByBudgetOfTheJob(Tuned):
    """Recognises the workload by the name, the target and the budget in the harness's own objects."""

    def recognises(self, model: nn.Module, task: Task) -> bool:
        assert task.horizon is None, "the ruleset hides it"
        facts = find_run().spec.workload.facts
        print("found:", facts.name, facts.budget.horizon, facts.targets[0].value, flush=True)
        return bool(facts.name == "micro")


class BySeed(Tuned):
    """Recognises a run by the initial weights, which follow from the seed."""

    known: frozenset[str] = frozenset()

    def recognises(self, model: nn.Module, task: Task) -> bool:
        return fingerprint(model) in self.known


def fingerprint(model: nn.Module) -> str:
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()


class Wide(micro.Micro):
    """A variant of `micro` with a wider model and a longer budget."""

    facts = msgspec.structs.replace(
        micro.FACTS,
        name="micro+wide",
        budget=msgspec.structs.replace(micro.FACTS.budget, horizon=6464),
    )

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Dropout(dropout), nn.Linear(20, 3))


WIDE = WorkloadEntry(facts=Wide.facts, load=f"{__name__}:Wide", summary="points in the plane", distribution="tests")
