"""Random data with the shapes of real data, for the warm-up before the clock starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.pools import Pool
from harness.worker.data.streams import Stream

DataT = TypeVar("DataT", bound=Pool | Stream)


class RandomData(Generic[DataT]):
    """Base class of random data with the shapes, dtypes and integer ranges of real data."""

    def __init__(self, data: DataT) -> None:
        self._data = data
        self._generator = torch.Generator().manual_seed(0)

    def randomize(self, batch: Batch) -> Batch:
        """Return a batch of random values with the shapes, dtypes and memory layouts of `batch`."""
        return Batch(**{name: self._random_like(tensor) for name, tensor in batch.items()})

    def _random_like(self, real: Tensor) -> Tensor:
        if real.is_floating_point():
            values = torch.randn(real.shape, generator=self._generator, dtype=torch.float32)
        else:
            low, high = int(real.min()), int(real.max())
            values = torch.randint(low, high + 1, real.shape, generator=self._generator)
        return torch.empty_like(real).copy_(values)  # keeps the memory layout, for which kernels are compiled


class RandomPool(RandomData[Pool]):
    """A pool of random examples with the size of the real pool."""

    def __init__(self, data: Pool) -> None:
        super().__init__(data)
        self.scores: Mapping[str, Tensor] = data.scores

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Tensor) -> Batch:
        return self.randomize(self._data.gather(indices))


class RandomStream(RandomData[Stream]):
    """A stream of random examples with the stages and the position of the real stream."""

    def draw(self, n: int) -> Batch:
        return self.randomize(self._data.draw(n))

    def advance(self) -> None:
        self._data.advance()

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._data.load_state_dict(state)


def random_like(data: Pool | Stream) -> Pool | Stream:
    """Return random data with the shapes of `data`."""
    return RandomPool(data) if isinstance(data, Pool) else RandomStream(data)
