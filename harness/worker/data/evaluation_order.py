"""The fixed random order in which windows of a held-out split are evaluated."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from harness.contract.workload import Shard

_SEED = 7


def evaluation_rows(shard: Shard, n: int, unit: int = 1) -> Tensor:
    """Return the indices of a shard's examples (int64) for a split whose stored order is not random.

    The whole split is evaluated in the stored order. A window is a part of a random order that is the same in every
    run, so that the examples of a prefix are a random sample of the split.

    Args:
        shard: the shard of the split.
        n: number of examples of the split, or of one task of it.
        unit: number of examples per piece of the whole split; see `Shard.rows`. A window consists of single examples.

    >>> evaluation_rows(Shard(), 3), len(evaluation_rows(Shard(stop=2), 3))
    (tensor([0, 1, 2]), 2)
    """
    if not shard.windowed:
        rows = shard.rows(n, unit)
        return torch.arange(rows.start, rows.stop)
    rows = shard.rows(n)
    return _random_order(n)[rows.start : rows.stop]


@lru_cache(maxsize=64)
def _random_order(n: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(_SEED))
