"""The order in which parts of a held-out split are evaluated."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from harness.contract.workload import Shard

_SEED = 7


def evaluation_rows(shard: Shard, n: int, unit: int = 1) -> Tensor:
    """Return the indices (int64) of the examples in a shard, the part of a split that one rank evaluates.

    * A shard of the whole split takes its examples in the stored order, which may be sorted, for example by class.
    * A shard with a window (`start` or `stop`) takes its examples from a random order, which is the same in every run.
      The first examples of this order are a random sample of the split.
    * A shard with a list of examples (`chosen`) takes its examples from this list.

    Args:
        shard: the shard of the split.
        n: number of examples in the split, or in one task of the split.
        unit: number of consecutive examples that are not divided between shards (see `Shard.rows`). It is ignored with
            a window or a list.

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
    # A copy, because the order is kept for later calls.
    return order[rows.start : rows.stop].clone()


@lru_cache(maxsize=64)
def _random_order(n: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(_SEED))
