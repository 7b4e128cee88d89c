"""The order in which parts of a held-out split are evaluated."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from harness.contract.workload import Shard

_SEED = 7


def evaluation_rows(shard: Shard, n: int, unit: int = 1) -> Tensor:
    """Return the indices (int64) of a shard's examples in a split. The stored order of the split may be systematic.

    A shard without a window (a part of the split, see `Shard.windowed`) takes its examples in the stored order. A shard
    with a window takes its examples from a random order of the split. This order is the same in every run. The first
    examples of this order are a random sample of the split. If the shard lists its examples (`Shard.chosen`), it takes
    these examples instead.

    Args:
        shard: the shard of the split.
        n: number of examples in the split, or in one task of the split.
        unit: number of consecutive examples that are not divided between shards (see `Shard.rows`). With a window,
            this argument is ignored.

    >>> evaluation_rows(Shard(), 3), len(evaluation_rows(Shard(stop=2), 3))
    (tensor([0, 1, 2]), 2)
    >>> evaluation_rows(Shard(chosen=(7, 4, 9), index=1, count=2), 10)
    tensor([4, 9])
    """
    if not shard.windowed:
        rows = shard.rows(n, unit)
        return torch.arange(rows.start, rows.stop)
    order = _random_order(n) if shard.chosen is None else torch.tensor(shard.chosen, dtype=torch.int64)
    rows = shard.rows(len(order))
    return order[rows.start : rows.stop]


@lru_cache(maxsize=64)
def _random_order(n: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(_SEED))
