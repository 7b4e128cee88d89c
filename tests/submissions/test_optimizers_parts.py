"""What every optimizer part promises, on a model with every kind of parameter, and what planning refuses."""

from __future__ import annotations

import inspect
import io
import sys
from typing import Any, get_args

import pytest
import torch
from torch import nn

from harness.api import BenchError, Kind, Parameter, PartEntry
from harness.contract import hyperparameters
from harness.contract.entries import SubmissionEntry
from harness.planning import compose, rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins import loading
from harness.plugins.registry import load_registry
from tests import micro

REGISTRY = load_registry()
PARTS = [part for part in REGISTRY.parts() if part.kind == "optimizer"]
SHAPES: dict[Kind, tuple[int, ...]] = {
    "matrix": (6, 4),
    "conv": (4, 2, 3, 3),
    "embedding": (10, 4),
    "head": (3, 6),
    "norm": (4,),
    "bias": (6,),
}
EVERY_OPTIMIZER = pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
LIBRARIES = {
    "schedulefree": ("schedule-free-adamw", "schedule-free-sgd", "schedule-free-radam"),
    "pytorch_optimizer": ("adabound", "adamod", "fadam", "lion", "soap", "shampoo", "ademamix", "galore"),
    "dog": ("dog", "ldog"),
    "prodigyopt": ("prodigy",),
}


def parameters() -> list[Parameter]:
    generator = torch.Generator().manual_seed(0)
    assert set(SHAPES) == set(get_args(Kind))
    return [
        Parameter(kind, nn.Parameter(torch.randn(shape, generator=generator)), kind) for kind, shape in SHAPES.items()
    ]


def optimizers(part: PartEntry, given: list[Parameter], **hparams: Any) -> list[torch.optim.Optimizer]:
    function = loading.load_object(part.load)
    settings = {name: hyperparameters.default(domain) for name, domain in part.space.items()} | hparams
    if "horizon" in inspect.signature(function).parameters:
        settings["horizon"] = 100
    made = function(given, **settings)
    return made if isinstance(made, list) else [made]


def take_steps(given: list[Parameter], made: list[torch.optim.Optimizer], seeds: range) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for p in given:
            p.tensor.grad = torch.randn(p.tensor.shape, generator=generator)
        for optimizer in made:
            optimizer.step()


@EVERY_OPTIMIZER
def test_it_moves_every_kind_of_parameter(part: PartEntry) -> None:
    given = parameters()
    before = [p.tensor.detach().clone() for p in given]
    take_steps(given, optimizers(part, given), range(12))
    for p, old in zip(given, before, strict=True):
        assert torch.isfinite(p.tensor).all()
        assert not torch.equal(p.tensor, old), p.kind


@pytest.mark.slow
@EVERY_OPTIMIZER
def test_it_goes_on_from_a_checkpoint_bit_for_bit(part: PartEntry) -> None:
    """What a checkpoint does: plain data through a file, into an optimizer made anew."""
    given, others = parameters(), parameters()
    made, fresh = optimizers(part, given), optimizers(part, others)
    take_steps(given, made, range(7))
    buffer = io.BytesIO()
    torch.save([o.state_dict() for o in made], buffer)
    buffer.seek(0)
    with torch.no_grad():
        for p, q in zip(given, others, strict=True):
            q.tensor.copy_(p.tensor)
    for optimizer, state in zip(fresh, torch.load(buffer, weights_only=True), strict=True):
        optimizer.load_state_dict(state)
    take_steps(given, made, range(7, 70))
    take_steps(others, fresh, range(7, 70))
    for p, q in zip(given, others, strict=True):
        assert torch.equal(p.tensor, q.tensor), p.kind


@EVERY_OPTIMIZER
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_parameter_may_get_its_first_gradient_late(part: PartEntry, dtype: torch.dtype) -> None:
    """As the head of a later task does: torch's fused SGD fails on it. A library may make state in single precision."""
    given = [Parameter(p.name, nn.Parameter(p.tensor.detach().to(dtype)), p.kind) for p in parameters()]
    late = {p.kind: p.tensor.detach().clone() for p in given if p.kind in ("conv", "head", "bias")}
    made = optimizers(part, given)
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        for p in given:
            gradient = torch.randn(p.tensor.shape, generator=generator).to(dtype)
            p.tensor.grad = None if p.kind in late and seed < 2 else gradient
        for optimizer in made:
            optimizer.step()
    for p in given:
        assert torch.isfinite(p.tensor).all()
        assert p.kind not in late or not torch.equal(p.tensor, late[p.kind]), p.kind


@EVERY_OPTIMIZER
def test_it_leaves_alone_what_has_no_gradient(part: PartEntry) -> None:
    given = parameters()
    made = optimizers(part, given)
    for optimizer in made:
        optimizer.zero_grad(set_to_none=True)
    idle = {"matrix", "bias", "head"}
    before = {p.kind: p.tensor.detach().clone() for p in given}
    for seed in range(3):
        for p in given:
            if p.kind not in idle:
                p.tensor.grad = torch.randn(p.tensor.shape, generator=torch.Generator().manual_seed(seed))
        for optimizer in made:
            optimizer.step()
    assert all(torch.equal(p.tensor, before[p.kind]) for p in given if p.kind in idle)


@EVERY_OPTIMIZER
def test_it_does_not_decay_norms_and_biases(part: PartEntry) -> None:
    if "weight_decay" not in part.space:
        return
    given = parameters()
    made = optimizers(part, given, weight_decay=0.3)
    decays = {id(p): g["weight_decay"] for o in made for g in o.param_groups for p in g["params"]}
    by_kind = {p.kind: decays[id(p.tensor)] for p in given if id(p.tensor) in decays}
    assert by_kind["norm"] == by_kind["bias"] == 0.0
    assert by_kind["head"] == 0.3


@EVERY_OPTIMIZER
def test_planning_refuses_bad_hyperparameters_by_name(part: PartEntry) -> None:
    """Before anything runs: decay rates from 1 on, negative rates, and what is no number."""
    entry = SubmissionEntry(name="probe", summary="a test's", parts=(part.id,), distribution="tests")
    composed = compose.compose(entry, REGISTRY)
    bad: list[tuple[str, float]] = []
    for name, domain in composed.space.items():
        if isinstance(hyperparameters.default(domain), bool | str):
            continue
        bad += [(name, value) for value in (float("nan"), float("inf"), -0.5 if name != "beta2_decay" else 0.5)]
        if "beta" in name and name != "beta2_decay":
            bad += [(name, 1.0), (name, 1.5)]
        if name == "momentum":
            bad.append((name, 1.0))
        if name in ("lr", "adam_lr"):
            bad.append((name, 0.0))
    for name, value in bad:
        settings = PlanSettings(ruleset=rulesets.ruleset("quick"), overrides={name: str(value)})
        with pytest.raises(BenchError, match=name):
            plan_trials(micro.ENTRY, entry, REGISTRY, settings)


@pytest.mark.parametrize(
    ("name", "library"), [(name, library) for library, names in LIBRARIES.items() for name in names]
)
def test_without_its_library_a_part_names_the_extra(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is loaded, off the clock, and again should it be called without having been prepared."""
    part = next(p for p in PARTS if p.name == name)
    function = loading.load_object(part.load)
    function.prepare()  # with the library it says nothing
    monkeypatch.setitem(sys.modules, library, None)
    extra = "methods" if library == "schedulefree" else "optimizers"
    for call in (function.prepare, lambda: optimizers(part, parameters())):
        with pytest.raises(BenchError, match=library) as caught:
            call()
        assert name in caught.value.what
        assert f"algorace[{extra}]" in str(caught.value)


def test_the_parts_that_need_a_library_are_those_that_say_so() -> None:
    needing = {part.name for part in PARTS if hasattr(loading.load_object(part.load), "prepare")}
    assert needing == {name for names in LIBRARIES.values() for name in names}
    assert needing == {part.name for part in PARTS if "extra `" in part.summary}


def test_lamb_scales_its_step_by_the_norm_of_the_tensor() -> None:
    """‖Δθ‖ = η‖θ‖ whatever the gradient's size, but on norms and biases, and with the ratio 1 for a tensor of zeros."""
    from submissions.optimizers.own.lamb import Lamb

    for scale in (1e-3, 1.0, 1e3):
        p, zero = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.zeros(2))
        p.grad, zero.grad = scale * torch.tensor([1.0, -2.0]), torch.ones(2)
        Lamb([p, zero], lr=0.1, eps=0.0).step()
        assert float((p - torch.tensor([3.0, 4.0])).norm().detach()) == pytest.approx(0.5, rel=1e-5)
        assert zero.tolist() == pytest.approx([-0.1, -0.1], rel=1e-5)
    given = parameters()
    (lamb,) = optimizers(next(p for p in PARTS if p.name == "lamb"), given, weight_decay=0.0)
    adapted = {id(p): g["adapt"] for g in lamb.param_groups for p in g["params"]}
    assert {p.kind: adapted[id(p.tensor)] for p in given if p.kind in ("matrix", "norm", "bias")} == {
        "matrix": True,
        "norm": False,
        "bias": False,
    }


@pytest.mark.parametrize(("name", "kinds"), [("shampoo", {"matrix", "conv"}), ("muon", {"matrix", "conv"})])
def test_matrix_methods_leave_the_rest_to_adamw(name: str, kinds: set[str]) -> None:
    given = parameters()
    part = next(p for p in PARTS if p.name == name)
    _, rest = optimizers(part, given)
    assert isinstance(rest, torch.optim.AdamW)
    left = {id(p) for g in rest.param_groups for p in g["params"]}
    assert {p.kind for p in given if id(p.tensor) not in left} == kinds


def test_galore_keeps_less_than_adam() -> None:
    """Its state for a matrix is the rank's share of Adam's, and the basis."""
    wide = Parameter("w", nn.Parameter(torch.randn(64, 48)), "matrix")
    (galore,) = optimizers(next(p for p in PARTS if p.name == "galore"), [wide], rank=0.25)
    take_steps([wide], [galore], range(2))
    state = galore.state_dict()["state"][0]
    assert {key: tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)} == {
        "exp_avg": (64, 12),
        "exp_avg_sq": (64, 12),
        "basis": (12, 48),
    }
