"""What the optimizer parts add to the steps of the libraries they wrap, or stand in for: interleaved, in one process.

Both optimizers step over tensors of the same shapes with the same gradients, one after the other (A B B A …), in
processor seconds of one thread; a gradient is put back before each step, off the count. Each repetition builds both
anew and gives the median of the ratios of neighbouring steps; what is printed is the smallest and the median over
repetitions, and the last line says whether every median stays within 1.05. A part without a library of its own is set
against another's of the same arithmetic: NAdamW and LAMB against timm's (`pip install --no-deps timm`, imported
without its models, which would need torchvision), SGDW against pytorch_optimizer's.

    python benchmarks/optimizers.py [--model resnet-digits] [--repetitions 9] [--steps 30] [--only lion soap …]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import Parameter
from harness.contract import hyperparameters
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from submissions.optimizers.groups import decay_groups

LIMIT = 1.05
Make = Callable[[Sequence[Parameter], dict[str, Any]], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet-digits", help="the workload whose parameters are stepped")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    _timm_without_models()
    registry = load_registry()
    parts = {p.name: p for p in registry.parts() if p.kind == "optimizer"}
    entry = registry.workload(options.model)
    workload = load_object(entry.load)(**entry.arguments)
    kinds = workload.parameter_kinds(model := workload.build_model(0))
    templates = [Parameter(name, p, kinds[name]) for name, p in model.named_parameters()]
    medians = []
    for name, theirs in LIBRARY.items():
        if options.only and name not in options.only:
            continue
        hparams = {key: hyperparameters.default(domain) for key, domain in parts[name].space.items()}
        ours = partial(_ours, parts[name].load)
        try:
            found = sorted(_ratio(templates, hparams, ours, theirs, options.steps) for _ in range(options.repetitions))
        except ImportError as error:
            print(f"{name:22s} {error.name} is not installed")
            continue
        medians.append(statistics.median(found))
        print(f"{name:22s} smallest {found[0]:.3f}  median {medians[-1]:.3f}", flush=True)
    print(f"largest median {max(medians):.3f}: {'within' if max(medians) <= LIMIT else 'above'} {LIMIT}")


def _ratio(templates: Sequence[Parameter], hparams: dict[str, Any], ours: Make, theirs: Make, steps: int) -> float:
    """Median over steps of the seconds of ours over those of theirs beside it."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(p.tensor.shape, generator=generator) for p in templates]
    sides = []
    for make in (ours, theirs):
        copies = [Parameter(p.name, nn.Parameter(p.tensor.detach().clone()), p.kind) for p in templates]
        made = make(copies, dict(hparams))
        sides.append((copies, made if isinstance(made, list | tuple) else [made]))
    taken: list[list[float]] = [[], []]
    for step in range(steps):
        for side in (0, 1) if step % 2 else (1, 0):
            taken[side].append(_step(*sides[side], gradients, 1.0 if step % 4 < 2 else -1.0))
    # The first steps make state.
    ours_s, theirs_s = (seconds[3:] for seconds in taken)
    return statistics.median(a / b for a, b in zip(ours_s, theirs_s, strict=True))


def _step(
    parameters: Sequence[Parameter], optimizers: Sequence[Any], gradients: Sequence[Tensor], sign: float
) -> float:
    """Seconds of one step; signs that alternate keep a method that learns its rate from running away."""
    for p, gradient in zip(parameters, gradients, strict=True):
        p.tensor.grad = sign * gradient
    began = process_time()
    for optimizer in optimizers:
        optimizer.step()
    return process_time() - began


def _ours(load: str, parameters: Sequence[Parameter], hparams: dict[str, Any]) -> Any:
    return load_object(load)(parameters, **hparams)


# --- the libraries, as one would call them ---------------------------------------------------------------------------


def _library(
    where: str, options: Callable[[dict[str, Any]], dict[str, Any]], train: bool = False, grouped: bool = True
) -> Make:
    """`module:Class` over the same groups with `options` of the hyperparameters."""

    def make(parameters: Sequence[Parameter], h: dict[str, Any]) -> Any:
        module, _, name = where.partition(":")
        groups: Any = decay_groups(parameters, h["weight_decay"]) if grouped else [p.tensor for p in parameters]
        optimizer = getattr(importlib.import_module(module), name)(groups, **options(h))
        if train:
            optimizer.train()
        return optimizer

    return make


def _adam(h: dict[str, Any]) -> dict[str, Any]:
    return {"lr": h["lr"], "betas": (h["beta1"], h["beta2"]), "eps": h["eps"]}


def _sgd(h: dict[str, Any]) -> dict[str, Any]:
    return {"lr": h["lr"], "momentum": h["momentum"]}


def _shampoo(parameters: Sequence[Parameter], h: dict[str, Any]) -> Any:
    library = importlib.import_module("pytorch_optimizer")
    hidden = [p for p in parameters if p.kind in ("matrix", "conv")]
    rest = [p for p in parameters if p.kind not in ("matrix", "conv")]
    decay = h["weight_decay"]
    return [
        library.Shampoo(decay_groups(hidden, decay), lr=h["lr"], weight_decouple=True, matrix_eps=h["matrix_eps"]),
        torch.optim.AdamW(decay_groups(rest, decay), lr=h["adam_lr"], betas=(0.9, 0.95), fused=True),
    ]


def _galore(parameters: Sequence[Parameter], h: dict[str, Any]) -> Any:
    library = importlib.import_module("pytorch_optimizer")
    groups = decay_groups([p for p in parameters if p.kind != "matrix"], h["weight_decay"])
    for p in parameters:
        if p.kind == "matrix":
            rank = max(1, round(h["rank"] * min(p.tensor.shape)))
            shared = {"update_proj_gap": h["every"], "scale": h["scale"], "projection_type": "std"}
            groups.append({"params": [p.tensor], "rank": rank, "weight_decay": h["weight_decay"], **shared})
    return library.GaLore(groups, **_adam(h))


LIBRARY: dict[str, Make] = {
    "adamw": _library("torch.optim:AdamW", lambda h: {**_adam(h), "fused": True}),
    "nesterov": _library("torch.optim:SGD", lambda h: {**_sgd(h), "nesterov": True, "fused": True}),
    "heavy-ball": _library("torch.optim:SGD", lambda h: {**_sgd(h), "fused": True}),
    "sgdw": _library("pytorch_optimizer:SGDW", _sgd),
    "nadamw": _library("timm.optim.nadamw:NAdamW", _adam),
    "radam": _library("torch.optim:RAdam", lambda h: {**_adam(h), "decoupled_weight_decay": True, "foreach": True}),
    "adabound": _library(
        "pytorch_optimizer:AdaBound", lambda h: {**_adam(h), "final_lr": h["final_lr"], "gamma": h["gamma"]}
    ),
    "adamod": _library(
        "pytorch_optimizer:AdaMod", lambda h: {**_adam(h), "betas": (h["beta1"], h["beta2"], h["beta3"])}
    ),
    "fadam": _library("pytorch_optimizer:FAdam", _adam),
    "adafactor": _library("torch.optim:Adafactor", lambda h: {"lr": h["lr"], "foreach": True}),
    "lamb": _library("timm.optim.lamb:Lamb", lambda h: {**_adam(h), "max_grad_norm": None}),
    "lion": _library("pytorch_optimizer:Lion", lambda h: {"lr": h["lr"], "betas": (h["beta1"], h["beta2"])}),
    "ademamix": _library(
        "pytorch_optimizer:AdEMAMix",
        lambda h: {**_adam(h), "betas": (h["beta1"], h["beta2"], h["beta3"]), "weight_decouple": True},
    ),
    "soap": _library("pytorch_optimizer:SOAP", _adam),
    "shampoo": _shampoo,
    "galore": _galore,
    "prodigy": _library("prodigyopt:Prodigy", _adam),
    "dog": _library("dog:DoG", lambda h: {"reps_rel": h["reps_rel"]}, grouped=False),
    "ldog": _library("dog:LDoG", lambda h: {"reps_rel": h["reps_rel"]}, grouped=False),
    "schedule-free-adamw": _library("schedulefree:AdamWScheduleFree", _adam, train=True),
    "schedule-free-sgd": _library("schedulefree:SGDScheduleFree", _sgd, train=True),
    "schedule-free-radam": _library("schedulefree:RAdamScheduleFree", _adam, train=True),
}


def _timm_without_models() -> None:
    """Make `timm.optim` importable by a package that runs none of timm's own `__init__`."""
    found = importlib.util.find_spec("timm")
    if found is None or found.origin is None:
        return
    folder = Path(found.origin).parent
    for name, place in (("timm", folder), ("timm.optim", folder / "optim")):
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package


if __name__ == "__main__":
    main()
