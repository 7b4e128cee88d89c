"""What several averagers share: putting other weights in and out, durations, and a queue of checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def updates(duration: float, horizon: int | None) -> int:
    """A duration in whole updates, at least 1: below 1 it is a share of the horizon, from 1 on a number of updates.

    >>> updates(0.1, 500), updates(25, None), updates(0.002, 100)
    (50, 25, 1)
    """
    if duration >= 1:
        return round(duration)
    assert horizon is not None, "this averager needs the horizon"
    return max(1, round(duration * horizon))


def trained(model: nn.Module) -> list[Tensor]:
    """The parameters that are averaged."""
    return [p for p in model.parameters() if p.requires_grad]


def copies(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Their values now."""
    return [p.detach().clone() for p in parameters]


@contextmanager
def holding(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """While open the parameters have these values, in place; none of them: their own."""
    import torch

    if not values:
        yield
        return
    kept = copies(parameters)
    with torch.no_grad():
        torch._foreach_copy_(list(parameters), list(values))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(parameters), kept)


class Mean:
    """A running mean θ̄ ← θ̄ + c·(θ − θ̄), begun with the first weights that it takes in.

    Args:
        model: whose trained parameters are averaged.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = trained(model)
        self._mean: list[Tensor] = []

    def take(self, weight: float) -> None:
        """Take in the weights as they are now with c = `weight`."""
        import torch

        with torch.no_grad():
            if self._mean:
                torch._foreach_lerp_(self._mean, self._parameters, weight)
            else:
                self._mean = copies(self._parameters)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """While open, the model holds the mean; afterwards, exactly what it held before."""
        with holding(self._parameters, self._mean):
            yield

    def state_dict(self) -> dict[str, Any]:
        return {"mean": list(self._mean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self._parameters[0].device
        self._mean = [m.to(device) for m in state["mean"]]


class Checkpoints(ABC):
    """The last `count` checkpoints, one every `every` updates; a weighted sum of them is what is evaluated.

    Args:
        model: whose trained parameters are kept.
        count: how many, at most.
        every: updates between two of them.
        start: no checkpoint before this update.
    """

    def __init__(self, model: nn.Module, count: int, every: int, start: int = 0) -> None:
        self._parameters = trained(model)
        self._count, self._every, self._start = count, every, start
        self._kept: list[list[Tensor]] = []
        self._updates = 0

    @abstractmethod
    def weights(self, n: int) -> Sequence[float]:
        """The weights of `n` checkpoints, the oldest first; they sum to 1."""

    def update(self) -> None:
        """Take a checkpoint where one is due."""
        self._updates += 1
        if self._updates >= self._start and (self._updates - self._start) % self._every == 0:
            self._kept.append(copies(self._parameters))
            del self._kept[: -self._count]

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """While open, the model holds the merged weights; before the first checkpoint, its own."""
        with holding(self._parameters, self._merged()):
            yield

    def _merged(self) -> list[Tensor]:
        import torch

        if not self._kept:
            return []
        merged = [torch.zeros_like(t) for t in self._kept[0]]
        with torch.no_grad():
            for weight, checkpoint in zip(self.weights(len(self._kept)), self._kept, strict=True):
                torch._foreach_add_(merged, checkpoint, alpha=weight)
        return merged

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self._updates, "kept": [list(checkpoint) for checkpoint in self._kept]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self._parameters[0].device
        self._updates = state["updates"]
        self._kept = [[t.to(device) for t in checkpoint] for checkpoint in state["kept"]]
