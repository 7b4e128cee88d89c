"""The default order of a pool: a new random order for every pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ShuffledOrder:
    """Returns the indices of a dataset in a new random order for every pass, each index once per pass.

    Args:
        size: number of examples, > 0.
        generator: generator of the random orders. Its state is part of `state_dict`.

    Raises:
        ValueError: `size` is 0.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        if size < 1:
            raise ValueError(f"a dataset to shuffle must have at least one example, got {size}")
        self._size = size
        self._generator = generator
        self._permutation = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def take(self, n: int) -> Tensor:
        """Return the next `n` indices (int64, shape (n,)). The indices may come from several passes."""
        parts: list[Tensor] = []
        while n > 0:
            if self._position == len(self._permutation):
                self._permutation = torch.randperm(self._size, generator=self._generator)
                self._position = 0
            indices = self._permutation[self._position : self._position + n]
            self._position += len(indices)
            n -= len(indices)
            parts.append(indices)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def peek(self, n: int) -> Tensor | None:
        """Return the result of `take(n)` without advancing; None if `take(n)` would begin a new pass."""
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
