"""Pools."""

from __future__ import annotations

import pytest
import torch

from harness.worker.data.pools import Pool, SubsetPool, TensorPool


def test_pools() -> None:
    pool = TensorPool(x=torch.arange(10), scores={"quality": torch.linspace(0, 1, 10)})
    assert isinstance(pool, Pool)
    part = SubsetPool(pool, torch.tensor([7, 3]))
    assert part.gather(torch.tensor([1, 0]))["x"].tolist() == [3, 7]
    assert part.scores["quality"].tolist() == pytest.approx([7 / 9, 3 / 9])
    with pytest.raises(ValueError, match="quality"):
        TensorPool(x=torch.arange(10), scores={"quality": torch.zeros(3)})
