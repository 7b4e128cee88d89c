"""Averaging and orders: their arithmetic, and that they put back what they borrow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.api import BenchError, Task
from submissions.averaging.ema import Ema
from submissions.quality_ascending import QualityAscending


def scalar(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(value)
    return model


def test_ema_of_a_sequence() -> None:
    model = scalar(0.0)
    average = Ema(model, ema_decay=0.9)
    for value in (1, 3, 2, 5, 4, 6, 8, 7):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update()
    with average.swapped():
        assert model.weight.item() == pytest.approx(3.2814772, abs=1e-6)
    assert model.weight.item() == 7.0


def test_ema_agrees_with_torch() -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    ours, theirs = Ema(model, ema_decay=0.95), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))  # type: ignore[no-untyped-call]
    for _ in range(20):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        ours.update()
        theirs.update_parameters(model)
    with ours.swapped():
        for p, q in zip(model.parameters(), theirs.module.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-6)


def test_ema_writes_in_place_and_puts_back_after_an_error() -> None:
    model = scalar(2.0)
    memory = model.weight.data_ptr()
    average = Ema(model, ema_decay=0.5)
    average.update()
    with torch.no_grad():
        model.weight.fill_(4.0)
    with average.swapped():
        assert model.weight.data_ptr() == memory
        assert model.weight.item() == 2.0
    with pytest.raises(RuntimeError, match="evaluation failed"), average.swapped():
        raise RuntimeError("evaluation failed")
    assert model.weight.item() == 4.0


def task(quality: torch.Tensor, horizon: int, **scores: torch.Tensor) -> Task:
    fields: dict[str, Any] = {"snapshot": lambda: None, "restore": lambda _: None}
    return Task(
        parameters=[],
        horizon=horizon,
        batch_size=10,
        device=torch.device("cpu"),
        rng=torch.Generator().manual_seed(0),
        scores={"quality": quality, **scores},
        pool_size=len(quality),
        **fields,
    )


@pytest.mark.parametrize("horizon", [500, 1000, 4000])
def test_quality_ascends_over_the_plan_and_stays(horizon: int) -> None:
    quality = torch.rand(1000, generator=torch.Generator().manual_seed(1))
    order = QualityAscending(task(quality, horizon), buckets=10, horizon_fraction=0.5)
    taken = torch.stack([order.take(10, examples) for examples in range(0, horizon, 10)])
    planned = horizon // 20
    means = torch.stack([part.mean() for part in quality[taken[:planned].flatten()].tensor_split(10)])
    assert bool((means.diff() > 0.05).all())
    assert quality[taken[planned:]].min() >= quality.sort().values[900]
    for batch in taken:
        assert len(batch.unique()) >= 9  # a new pass may begin within a batch


def test_an_order_goes_on_from_its_state() -> None:
    quality = torch.rand(200, generator=torch.Generator().manual_seed(1))
    one, other = task(quality, 1000), task(quality, 1000)
    a, b = QualityAscending(one, buckets=5), QualityAscending(other, buckets=5)
    for examples in range(0, 330, 10):
        a.take(10, examples)
    b.load_state_dict(a.state_dict())
    other.rng.set_state(one.rng.get_state())
    for examples in range(330, 1000, 10):
        assert torch.equal(a.take(10, examples), b.take(10, examples))


def test_an_order_by_quality_names_the_scores_there_are() -> None:
    given = task(torch.rand(5), 100, difficulty=torch.rand(5))
    del given.scores["quality"]  # type: ignore[attr-defined]
    with pytest.raises(BenchError, match="difficulty"):
        QualityAscending(given, buckets=2)
