"""Batches read ahead are those that would have been read in time."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.errors import DataError
from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import SubsetPool, TensorPool
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
    ahead = Prefetch(pool.gather, order(size=20), CPU)
    sizes = [3, 3, 2, 2, 5, 1, 7, 3, 20, 10, 10, 4]
    for n in sizes:
        assert ahead.take(n)["x"].tolist() == plain.take(n).tolist()
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
    ahead = Prefetch(pool.gather, own, CPU)
    ahead.take(3)
    state = {k: v.clone() if isinstance(v, Tensor) else v for k, v in own.state_dict().items()}
    expected = [ahead.take(3)["x"].tolist() for _ in range(3)]
    own.load_state_dict(state)
    assert [ahead.take(3)["x"].tolist() for _ in range(3)] == expected


def test_an_error_comes_in_the_step_that_it_belongs_to() -> None:
    class Torn(Noted):
        def gather(self, indices: Tensor) -> Batch:
            if len(self.asked) == 2:
                raise DataError("a shard is gone")
            return super().gather(indices)

    ahead = Prefetch(Torn().gather, order(), CPU)
    ahead.take(3)
    ahead.take(3)
    with pytest.raises(DataError, match="a shard is gone"):
        ahead.take(3)


def test_who_may_be_read_ahead() -> None:
    assert prefetchable(Noted())
    assert prefetchable(SubsetPool(Noted(), torch.arange(4)))
    assert not prefetchable(TensorPool(x=torch.arange(3)))
    assert not prefetchable(SubsetPool(TensorPool(x=torch.arange(3)), torch.arange(2)))
    assert not prefetchable(None)


def test_work_draws_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws of a run, with the order restored from a checkpoint in between, and a draw by index."""

    def drawn(read_ahead: bool) -> list[Any]:
        spec = spec_of(submission("tests.submissions_for_tests:Base"))
        workload = micro.Micro()
        data: Any = workload.train_data(0)
        data.prefetchable = True
        work = work_of(spec, workload, data=data)
        source = work._source
        assert isinstance(source, PoolSource)
        assert source._prefetch is None, "on the CPU there is nothing to wait for"
        if read_ahead:
            source._prefetch = Prefetch(data.gather, source._order, CPU)
        seen: list[Any] = []
        for n in (None, 4, None, None):
            work.begin_step()
            seen.append({k: t.tolist() for k, t in work.draw(n).items()})
        seen.append({k: t.tolist() for k, t in work.draw(indices=torch.tensor([1, 2])).items()})
        state = work.state_dict()
        work.begin_step()
        seen.append({k: t.tolist() for k, t in work.draw().items()})
        work.load_state_dict(state)
        seen.append(work.examples)
        return seen

    assert drawn(True) == drawn(False)
