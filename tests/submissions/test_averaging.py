"""Averagers: their arithmetic on a published sequence, their spacing, and that they put back what they borrow."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.api import Averager, Progress
from harness.contract import hyperparameters
from harness.planning import compose
from harness.plugins import loading
from harness.plugins.registry import load_registry
from submissions.averaging.cma import Cma
from submissions.averaging.ema import Ema
from submissions.averaging.lawa import Lawa
from submissions.averaging.polynomial import Polynomial
from submissions.averaging.swa import Swa
from submissions.averaging.wsm import Wsm
from submissions.schedules.swa import swa

SEQUENCE = (1, 3, 2, 5, 4, 6, 8, 7)
PARTS = [part for part in load_registry().parts() if part.kind == "averaging"]


class Scalar(nn.Module):
    """A model of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def be(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)


def after(average: Averager, model: Scalar, values: Sequence[float]) -> float:
    """What is evaluated after these weights."""
    for value in values:
        model.be(value)
        average.update()
    with average.swapped():
        found = model.weight.item()
    assert model.weight.item() == values[-1]
    return found


ROWS: list[tuple[str, Callable[[nn.Module], Averager], float]] = [
    ("swa", lambda m: Swa(m, swa_start=1, swa_every=1), 4.5),
    ("ema", lambda m: Ema(m, ema_decay=0.9), 3.2814772),
    ("lawa", lambda m: Lawa(m, lawa_count=4, lawa_every=1), 6.25),
    ("polynomial", lambda m: Polynomial(m, gamma_average=8.0), 6.96800699),
    ("cma", lambda m: Cma(m, merge_count=6, merge_every=1, merge_alpha=0.2), 4.92256),
    ("plain mean of six", lambda m: Lawa(m, lawa_count=6, lawa_every=1), 5.33333333),
    ("wsm, linear", lambda m: Wsm(m, merge_count=6, merge_every=1, merge_shape="linear"), 5.33333333),
]


@pytest.mark.parametrize(("make", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_average_of_the_published_sequence(make: Callable[[nn.Module], Averager], wanted: float) -> None:
    model = Scalar()
    assert after(make(model), model, SEQUENCE) == pytest.approx(wanted, abs=1e-7)


def test_merging_with_a_square_root_has_the_published_weights() -> None:
    merged = Wsm(Scalar(), merge_count=6, merge_every=1, merge_shape="1-sqrt")
    assert merged.weights(6) == pytest.approx([0.4082, 0.1691, 0.1298, 0.1094, 0.0964, 0.0871], abs=5e-5)


@pytest.mark.parametrize("shape", ["linear", "1-sqrt", "cosine"])
def test_merged_weights_are_those_of_the_decay_they_stand_for(shape: str) -> None:
    """Σⱼ cⱼθⱼ = θ₀ + Σᵢ γᵢΔᵢ: plain gradient steps at a constant rate, merged, are the same steps with it decayed."""
    model, n = Scalar(), 8
    moves = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average = Wsm(model, merge_count=n, merge_every=1, merge_shape=shape)
    gamma: dict[str, Callable[[float], float]] = {
        "linear": lambda x: 1 - x,
        "1-sqrt": lambda x: 1 - math.sqrt(x),
        "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    }
    decayed = sum(float(move) * gamma[shape](i / n) for i, move in enumerate(moves))
    found = after(average, model, torch.cumsum(moves, 0).tolist())
    assert found == pytest.approx(decayed, abs=1e-12)


def test_polynomial_averaging_is_the_authors() -> None:
    dog = pytest.importorskip("dog")
    model = Scalar()
    ours, theirs = Polynomial(model, gamma_average=8.0), dog.PolynomialDecayAverager(model, gamma=8.0)
    for value in SEQUENCE:
        model.be(value)
        ours.update()
        theirs.step()
    with ours.swapped():
        assert model.weight.item() == pytest.approx(theirs.averaged_model.weight.item(), abs=1e-12)


def test_swa_agrees_with_torch() -> None:
    from torch.optim.swa_utils import AveragedModel

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    ours, theirs = Swa(model, swa_start=1, swa_every=1), AveragedModel(model)
    for _ in range(20):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        ours.update()
        theirs.update_parameters(model)
    with ours.swapped():
        for p, q in zip(model.parameters(), theirs.module.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-6)


def test_swa_samples_once_per_cycle_from_its_start_on() -> None:
    """Shares of the horizon: from update 60 of 80 on, every eighth."""
    model = Scalar()
    average = Swa(model, swa_start=0.75, swa_every=0.1, horizon=80)
    assert after(average, model, range(1, 60)) == 59  # before the start, the weights themselves
    assert after(average, model, range(60, 80)) == pytest.approx((60 + 68 + 76) / 3)


def test_lawa_spaces_its_checkpoints() -> None:
    model = Scalar()
    average = Lawa(model, lawa_count=3, lawa_every=0.05, lawa_start=0.1, horizon=100)
    assert after(average, model, range(1, 10)) == 9
    assert after(average, model, range(10, 34)) == pytest.approx((20 + 25 + 30) / 3)


def test_swas_learning_rate_is_that_of_the_authors_code() -> None:
    """1 to a half of the start, linear to the ratio at nine tenths, constant."""
    found = [swa(Progress(step=t, horizon=300), swa_start=161, swa_final=0.5) for t in (0, 80, 161 * 0.7, 145, 299)]  # type: ignore[arg-type]
    assert found == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.5])


def averager(part: Any, model: nn.Module) -> Any:
    settings = {name: hyperparameters.default(domain) for name, domain in part.space.items()}
    if "horizon" in part.needs:
        settings["horizon"] = 60
    return loading.load_object(part.load)(model, **settings)


def wander(model: nn.Module, average: Averager, seeds: range) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator))
        average.update()


def evaluated(model: nn.Module, average: Averager) -> list[Tensor]:
    with average.swapped():
        return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
class TestEveryAverager:
    def test_it_goes_on_from_its_state(self, part: Any) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        average = averager(part, model)
        wander(model, average, range(33))
        twin = copy.deepcopy(model)
        other = averager(part, twin)
        other.load_state_dict(copy.deepcopy(average.state_dict()))
        wander(model, average, range(33, 60))
        wander(twin, other, range(33, 60))
        for p, q in zip(evaluated(model, average), evaluated(twin, other), strict=True):
            assert torch.equal(p, q)

    def test_it_writes_in_place_and_puts_back_after_an_error(self, part: Any) -> None:
        model = nn.Linear(3, 2)
        model.bias.requires_grad_(False)
        average = averager(part, model)
        wander(model, average, range(55))
        memory = [p.data_ptr() for p in model.parameters()]
        before = [p.detach().clone() for p in model.parameters()]
        with average.swapped():
            assert [p.data_ptr() for p in model.parameters()] == memory
            assert not torch.equal(model.weight, before[0])
            assert torch.equal(model.bias, before[1])  # frozen, so not averaged
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
        with pytest.raises(RuntimeError, match="evaluation failed"), average.swapped():
            raise RuntimeError("evaluation failed")
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))

    def test_before_any_update_it_evaluates_the_weights(self, part: Any) -> None:
        model = nn.Linear(3, 2)
        assert torch.equal(evaluated(model, averager(part, model))[0], model.weight)


def test_swa_composes_with_its_learning_rate_where_one_start_is_declared() -> None:
    registry = load_registry()
    preset = next(s for s in registry.submissions() if s.name == "adamw-swa")
    assert hyperparameters.default(compose.compose(preset, registry).space["swa_start"]) == 0.75
