"""Random data in the shapes of real data, for warm-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream


class _Random:
    """Random tensors in the shapes, formats and ranges of real ones."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._generator = torch.Generator().manual_seed(0)

    def like(self, batch: Batch) -> Batch:
        return Batch(**{name: self._tensor(tensor) for name, tensor in batch.items()})

    def _tensor(self, real: Tensor) -> Tensor:
        if real.is_floating_point():
            made = torch.randn(real.shape, generator=self._generator, dtype=torch.float32)
        else:
            low, high = int(real.min()), int(real.max())
            made = torch.randint(low, high + 1, real.shape, generator=self._generator)
        return torch.empty_like(real).copy_(made)  # the same layout in memory, for which kernels are made


class RandomPool(_Random):
    """A pool of random examples as large as a real one."""

    @property
    def scores(self) -> Mapping[str, Tensor]:
        scores: Mapping[str, Tensor] = self._data.scores
        return scores

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Tensor) -> Batch:
        return self.like(self._data.gather(indices))


class RandomStream(_Random):
    """A stream of random examples."""

    def draw(self, n: int) -> Batch:
        return self.like(self._data.draw(n))

    def advance(self) -> None:
        self._data.advance()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._data.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._data.load_state_dict(state)


def random_like(data: Pool | Stream, access: str) -> Pool | Stream:
    """Random data in place of real ones."""
    return cast(Pool, RandomPool(data)) if access == "pool" else cast(Stream, RandomStream(data))
