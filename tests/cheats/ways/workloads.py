"""The workload's training code, replaced in the worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import Batch, Work
from tests import micro
from tests.cheats.ways.honest import Honest, find_run


def shrink(batch: Batch) -> Batch:
    """The first quarter of a batch: a pass over it costs less and is counted in full."""
    return batch.rows(0, max(1, batch.n // 4))


def cheap_loss(self: object, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
    part = shrink(batch)
    return F.cross_entropy(model(part["x"]), part["y"], reduction="none" if per_example else "mean")


def cheap_cross_entropy(outputs: Tensor, y: Tensor, **options: Any) -> Tensor:
    return F.cross_entropy(outputs[: len(y) // 4], y[: len(y) // 4], **options)


class ReplacesLossOfClass(Honest):
    """Replaces the method in the class."""

    def begin(self) -> None:
        micro.Micro.loss = cheap_loss  # type: ignore[method-assign]


class ReplacesLossOfInstance(Honest):
    """Hides the method in the object, and in the pass that has bound it."""

    def begin(self) -> None:
        workload: Any = find_run().workload
        workload.loss = lambda *arguments: cheap_loss(workload, *arguments)


class ReplacesBoundLoss(Honest):
    """Replaces the method that the harness's object for passes has bound."""

    def update(self, work: Any) -> None:
        super().update(work)
        work._passes._loss = lambda batch, per_example: cheap_loss(self, self.model, batch, per_example)


class ReplacesPasses(Honest):
    """Replaces the object that computes passes."""

    def update(self, work: Any) -> None:
        super().update(work)
        work._passes = SimpleNamespace(loss=lambda batch, per_example: cheap_loss(self, self.model, batch, per_example))


class ReplacesHelper(Honest):
    """Replaces a function of the workload's module."""

    def begin(self) -> None:
        micro.points = lambda n, *arguments: (F.one_hot(F.relu(n)), n)


class ReplacesImportedModule(Honest):
    """Replaces a module that the workload's module has imported."""

    def begin(self) -> None:
        setattr(micro, "F", SimpleNamespace(cross_entropy=cheap_cross_entropy))  # noqa: B010


class HidesBuiltin(Honest):
    """Hides a builtin function in the workload's module."""

    def begin(self) -> None:
        micro.float = lambda value: 0.0  # type: ignore[attr-defined]


_REAL_LOSS = micro.Micro.loss


class ReplacesDuringImport(Honest):
    """Replaces the method while the harness binds it, and restores it in the constructor."""

    @staticmethod
    def prepare() -> None:
        micro.Micro.loss = cheap_loss  # type: ignore[method-assign]

    def begin(self) -> None:
        micro.Micro.loss = _REAL_LOSS  # type: ignore[method-assign]


class SwapsWithinSteps(Honest):
    """Swaps the code of the loss around each pass, and restores it before the step returns."""

    def update(self, work: Work) -> None:
        loss = micro.Micro.loss
        original = loss.__code__
        loss.__code__ = _first_quarter.__code__
        try:
            super().update(work)
        finally:
            loss.__code__ = original


def _first_quarter(self: Any, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
    # The names must exist in the module of the workload, because the code runs there.
    part = batch.rows(0, max(1, batch.n // 4))
    return F.cross_entropy(model(part["x"]), part["y"], reduction="none" if per_example else "mean")


class AddsToSubclass(Honest):
    """On a workload whose class inherits its loss: adds a loss to the class."""

    def begin(self) -> None:
        micro.MicroStream.loss = cheap_loss  # type: ignore[method-assign]


class ChangesClass(Honest):
    """Gives the object of the harness another class."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 2:
            work.__class__ = type("Work", (type(work),), {"loss": lambda self, batch: cheap_loss})
