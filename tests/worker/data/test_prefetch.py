"""Batches read ahead are those that would have been read in time."""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.errors import DataError
from harness.worker.data.batch import Batch
from harness.worker.data.counted_random import uniforms_at
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import SubsetPool, TensorPool, positional_gather
from harness.worker.data.prefetch import Prefetch, prefetchable
from harness.worker.data.source import PoolSource
from tests import micro
from tests.helpers import spec_of, submission
from tests.worker.build import CPU, work_of


class Noted(TensorPool):
    """A pool that notes who gathered what."""

    prefetchable = True

    def __init__(self, size: int = 10) -> None:
        super().__init__(x=torch.arange(size))
        self.asked: list[tuple[str, list[int]]] = []

    def gather(self, indices: Tensor) -> Batch:
        self.asked.append((threading.current_thread().name, indices.tolist()))
        return super().gather(indices)


def order(seed: int = 3, size: int = 10) -> ShuffledOrder:
    return ShuffledOrder(size, torch.Generator().manual_seed(seed))


def test_the_batches_are_those_of_the_order() -> None:
    """Over several passes and with sizes that change: what was read ahead in vain is read again."""
    pool, plain = Noted(20), order(size=20)
    ahead = Prefetch(positional_gather(pool), order(size=20), CPU)
    sizes = [3, 3, 2, 2, 5, 1, 7, 3, 20, 10, 10, 4]
    for position, n in zip(accumulate(sizes, initial=0), sizes, strict=False):
        assert ahead.take(n, position)["x"].tolist() == plain.take(n).tolist()
    threads = [name for name, _ in pool.asked]
    assert any(name.startswith("prefetch") for name in threads)
    assert sum(len(indices) for _, indices in pool.asked) > sum(sizes), "something was read in vain"


def test_a_peek_takes_nothing() -> None:
    one, two = order(), order()
    assert one.peek(3) is None, "there is no pass yet"
    for n in (4, 4):
        assert one.take(n).tolist() == two.take(n).tolist()
        seen, again = one.peek(2), one.peek(2)
        assert seen is not None
        assert again is not None
        assert seen.tolist() == again.tolist()
    assert one.peek(3) is None, "that would begin the next pass"
    assert seen is not None
    assert one.take(2).tolist() == seen.tolist()
    assert {k: str(v) for k, v in one.state_dict().items() if k != "position"} == {
        k: str(v) for k, v in two.state_dict().items() if k != "position"
    }


def test_an_order_that_is_set_back_is_followed() -> None:
    own = order()
    pool = Noted()
    ahead = Prefetch(positional_gather(pool), own, CPU)
    ahead.take(3, 0)
    state = {k: v.clone() if isinstance(v, Tensor) else v for k, v in own.state_dict().items()}
    expected = [ahead.take(3, position)["x"].tolist() for position in (3, 6, 9)]
    own.load_state_dict(state)
    assert [ahead.take(3, position)["x"].tolist() for position in (3, 6, 9)] == expected


def test_an_error_comes_in_the_step_that_it_belongs_to() -> None:
    class Torn(Noted):
        def gather(self, indices: Tensor) -> Batch:
            if len(self.asked) == 2:
                raise DataError("a shard is gone")
            return super().gather(indices)

    ahead = Prefetch(positional_gather(Torn()), order(), CPU)
    ahead.take(3, 0)
    ahead.take(3, 3)
    with pytest.raises(DataError, match="a shard is gone"):
        ahead.take(3, 6)


def test_who_may_be_read_ahead() -> None:
    assert prefetchable(Noted())
    assert prefetchable(SubsetPool(Noted(), torch.arange(4)))
    assert not prefetchable(TensorPool(x=torch.arange(3)))
    assert not prefetchable(SubsetPool(TensorPool(x=torch.arange(3)), torch.arange(2)))
    assert not prefetchable(None)


class Augmented(Noted):
    """A pool whose examples depend on their positions in the run."""

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        numbers_N2 = uniforms_at(0, torch.arange(position, position + len(indices)), 2)
        return Batch(x=super().gather(indices)["x"], noise=numbers_N2)


@pytest.mark.parametrize("make", [lambda: micro.Micro().train_data(0), lambda: Augmented(512)], ids=["plain", "random"])
def test_work_draws_the_same_with_and_without(make: Any) -> None:
    """The draws of a run, with the order restored from a checkpoint in between, and a draw by index."""

    def drawn(read_ahead: bool) -> list[Any]:
        spec = spec_of(submission("tests.submissions_for_tests:Base"))
        workload = micro.Micro()
        data: Any = make()
        data.prefetchable = True
        work = work_of(spec, workload, data=data)
        source = work._source
        assert isinstance(source, PoolSource)
        assert source._prefetch is None, "on the CPU there is nothing to wait for"
        if read_ahead:
            source._prefetch = Prefetch(positional_gather(data), source._order, CPU)
        seen: list[Any] = []
        for n in (None, 4, None, None):
            work.begin_step()
            seen.append({k: t.tolist() for k, t in work.draw(n).items()})
        seen.append({k: t.tolist() for k, t in work.draw(indices=torch.tensor([1, 2])).items()})
        state = work.state_dict()
        work.begin_step()
        seen.append({k: t.tolist() for k, t in work.draw().items()})
        work.load_state_dict(state)
        for _ in range(2):
            work.begin_step()
            seen.append({k: t.tolist() for k, t in work.draw().items()})
        seen.append(work.examples)
        return seen

    assert drawn(True) == drawn(False)
