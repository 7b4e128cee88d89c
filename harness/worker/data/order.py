"""The default order of a pool: shuffled anew for every pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ShuffledOrder:
    """The indices of a dataset in a new random order for every pass, each exactly once per pass.

    Args:
        size: number of examples, > 0.
        generator: the source of randomness; its state is part of `state_dict`.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        if size < 1:
            raise ValueError("an empty dataset has no order")
        self._size = size
        self._generator = generator
        self._permutation = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def take(self, n: int) -> Tensor:
        """The next `n` indices (int64, shape (n,)); after the end of a pass the next one begins."""
        parts: list[Tensor] = []
        while n > 0:
            if self._position == len(self._permutation):
                self._permutation = torch.randperm(self._size, generator=self._generator)
                self._position = 0
            part = self._permutation[self._position : self._position + n]
            self._position += len(part)
            n -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def peek(self, n: int) -> Tensor | None:
        """What `take(n)` would return, without taking it; None where a new pass would have to be shuffled for it."""
        stop = self._position + n
        return self._permutation[self._position : stop] if stop <= len(self._permutation) else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "permutation": self._permutation,
            "position": self._position,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._permutation = state["permutation"]
        self._position = state["position"]
        self._generator.set_state(state["generator"])
