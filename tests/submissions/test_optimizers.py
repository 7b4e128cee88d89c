"""Optimizers against published or independently computed numbers, and what their wrappers promise."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from torch import nn

from harness.api import BenchError, Kind, Parameter
from submissions.optimizers.adamw import adamw
from submissions.optimizers.flattened import FlattenedMuon
from submissions.optimizers.muon import muon
from submissions.optimizers.schedule_free_adamw import schedule_free_adamw

MUON: dict[str, Any] = {
    "lr": 0.1,
    "momentum": 0.95,
    "weight_decay": 0.0,
    "adam_lr": 0.01,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
}


def parameter(values: Any, kind: Kind = "matrix", dtype: torch.dtype = torch.float32) -> Parameter:
    return Parameter("p", nn.Parameter(torch.tensor(values, dtype=dtype)), kind)


def test_adamw_takes_the_steps_of_its_formula() -> None:
    p = parameter([1.0, 2.0], dtype=torch.float64)
    optimizer = adamw([p], lr=1e-2, beta1=0.9, beta2=0.999, weight_decay=0.1, eps=1e-8)
    wanted = [[0.989000001, 2.0079999995], [0.9788331902, 2.0086553697], [0.9718452238, 2.0020733966]]
    for gradient, values in zip(([0.1, -0.2], [0.3, 0.1], [-0.05, 0.4]), wanted, strict=True):
        p.tensor.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        assert p.tensor.tolist() == pytest.approx(values, abs=1e-6)


def test_schedule_free_follows_its_average_on_a_quadratic() -> None:
    pytest.importorskip("schedulefree")
    p = parameter([1.0, 1.0], dtype=torch.float64)
    optimizer: Any = schedule_free_adamw([p], lr=0.1, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, warmup=0)
    wanted = [
        [0.900000001, 0.9000000001],
        [0.8526958096, 0.8526958083],
        [0.8061410327, 0.8061410309],
        [0.7604630603, 0.7604630582],
        [0.715742536, 0.7157425335],
    ]
    curvature = torch.tensor([1.0, 10.0], dtype=torch.float64)
    for values in wanted:
        p.tensor.grad = curvature * p.tensor.detach()
        optimizer.step()
        trained = p.tensor.tolist()
        optimizer.eval()
        assert p.tensor.tolist() == pytest.approx(values, abs=1e-6)
        optimizer.train()
        assert p.tensor.tolist() == pytest.approx(trained, abs=1e-12)


def test_schedule_free_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(BenchError, match="schedulefree") as caught:
        schedule_free_adamw([parameter([1.0])], lr=0.1, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, warmup=0)
    assert "algorace[methods]" in str(caught.value)
    assert "\n" not in caught.value.what


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1, 1), (2, 1, 2, 1)])
def test_muon_orthogonalises_matrices_and_flattened_convolutions(shape: tuple[int, ...]) -> None:
    p = parameter(torch.eye(2).reshape(shape).tolist(), "matrix" if len(shape) == 2 else "conv")
    (optimizer,) = muon([p], **MUON)
    wanted = [
        [0.91836, 0.01504, 0.01543, 0.9043],
        [0.83672, 0.03008, 0.03086, 0.80859],
        [0.75508, 0.04512, 0.04629, 0.71289],
    ]
    for step, values in enumerate(wanted):
        optimizer.zero_grad()
        assert p.tensor.grad is None
        p.tensor.grad = (step + 1) * torch.tensor([[3.0, 1.0], [1.0, 2.0]]).reshape(shape)
        optimizer.step()
        # bfloat16 inside: two digits.
        assert p.tensor.flatten().tolist() == pytest.approx(values, abs=2e-2)
    assert p.tensor.shape == shape


@pytest.mark.slow
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("together", [1 << 27, 3 * 64 * 48, 1])
def test_muon_in_batches_is_muon_one_by_one(nesterov: bool, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tall, wide and square matrices and a convolution, some without a gradient; states can be exchanged."""
    monkeypatch.setattr("submissions.optimizers.flattened._TOGETHER", together)
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 48), (48, 64), (64, 48), (32, 32), (32, 32), (16, 3, 3, 3), (96, 32), (32, 96), (8, 8)]
    ours = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    options: dict[str, Any] = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
    batched = FlattenedMuon(ours, batched=True, **options)
    single = FlattenedMuon(theirs, batched=False, **options)
    assert not FlattenedMuon(ours, **options).batched, "on the processor results stay what they were"
    for step in range(4):
        for p, q in zip(ours[:-1], theirs[:-1], strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        batched.step()
        single.step()
        for p, q in zip(ours, theirs, strict=True):
            # The same operations on the same bf16 numbers; a library may sum a batch in another order, which is worth
            # a unit in the last of 8 places of an update of at most lr·1.3·√2.
            assert torch.allclose(p, q, rtol=0, atol=(step + 1) * 0.5 * 1.9 / 256)
        batched.load_state_dict(copy.deepcopy(single.state_dict()))
    assert torch.equal(ours[-1], theirs[-1])
    assert "momentum_buffer" not in batched.state[batched.param_groups[0]["params"][-1]]


def test_muon_takes_the_same_step_where_channels_are_innermost() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Parameter(torch.randn(16, 3, 3, 3, generator=generator))
    innermost = nn.Parameter(plain.detach().clone(memory_format=torch.channels_last))
    assert not innermost.is_contiguous()
    options: dict[str, Any] = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1}
    one, other = FlattenedMuon([plain], **options), FlattenedMuon([innermost], **options)
    for _ in range(3):
        plain.grad = torch.randn(plain.shape, generator=generator)
        innermost.grad = plain.grad.clone(memory_format=torch.channels_last)
        before = plain.detach().clone()
        one.step()
        other.step()
        # bf16 sums in another order: a unit in the last of 8 places of the step.
        assert torch.allclose(plain, innermost, rtol=0, atol=2 * float((plain.detach() - before).abs().max()) / 256)
    assert innermost.is_contiguous(memory_format=torch.channels_last)


def test_muon_leaves_everything_but_hidden_weights_to_adamw() -> None:
    kinds: tuple[Kind, ...] = ("matrix", "conv", "embedding", "head", "norm", "bias")
    parameters = [Parameter(k, nn.Parameter(torch.ones(2, 2, *((1, 1) if k == "conv" else ()))), k) for k in kinds]
    hidden, rest = muon(parameters, **MUON)
    assert sum(len(g["params"]) for g in hidden.param_groups) == 2
    assert sum(len(g["params"]) for g in rest.param_groups) == 4
    assert [g["lr"] for o in (hidden, rest) for g in o.param_groups] == [0.1, 0.01, 0.01]
    assert len(muon(parameters[2:], **MUON)) == 1


def test_muon_goes_on_from_its_state() -> None:
    def made() -> tuple[Parameter, torch.optim.Optimizer]:
        torch.manual_seed(0)
        p = Parameter("c", nn.Parameter(torch.randn(4, 3, 3, 3)), "conv")
        return p, muon([p], **MUON)[0]

    def step(p: Parameter, optimizer: torch.optim.Optimizer, seed: int) -> None:
        p.tensor.grad = torch.randn(p.tensor.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()

    (p, one), (q, other) = made(), made()
    for seed in range(3):
        step(p, one, seed)
    with torch.no_grad():
        q.tensor.copy_(p.tensor)
    # torch takes over the tensors of the state it is given, so each needs its own.
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for seed in range(3, 6):
        step(p, one, seed)
        step(q, other, seed)
    assert torch.equal(p.tensor, q.tensor)
