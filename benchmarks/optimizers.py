"""Compare the time per step of each optimizer part with the time per step of the corresponding library optimizer.

Both optimizers update tensors of the same shapes with the same gradients. Their steps alternate (library, part, part,
library …) in one process. They are measured in processor seconds of one thread, without the time to set the gradients.

Two neighbouring steps give one ratio: seconds of the part's step / seconds of the library's step. The result of a
repetition is the median of these ratios. Each repetition builds both optimizers anew. The script prints the minimum and
the median over repetitions. Its last line shows whether all medians are at most 1.05.

Most parts wrap a library optimizer. NAdamW, LAMB and SGDW do not: the first two are compared with timm's, SGDW with
pytorch_optimizer's. `pip install --no-deps timm` suffices, because timm's models, which need torchvision, are not
imported.

    python benchmarks/optimizers.py [--model resnet-digits] [--repetitions 9] [--steps 40] [--only lion soap …]
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

#: Maximum ratio of a part's time to the library's time.
LIMIT = 1.05
#: Number of steps at the beginning that are not measured, because they create the optimizer's state.
FIRST_STEPS = 3
#: Function (parameters, hyperparameters) -> an optimizer, or a list of optimizers.
BuildOptimizer = Callable[[Sequence[Parameter], dict[str, Any]], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="resnet-digits", help="workload whose parameters are used (default: resnet-digits)"
    )
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", nargs="+", default=list(LIBRARY), choices=list(LIBRARY), metavar="PART")
    options = parser.parse_args()
    if options.repetitions < 1 or options.steps <= FIRST_STEPS:
        parser.error(f"--repetitions must be at least 1, and --steps at least {FIRST_STEPS + 1}")
    torch.set_num_threads(1)
    _skip_timm_models()
    registry = load_registry()
    parts = {p.name: p for p in registry.parts() if p.kind == "optimizer"}
    entry = registry.workload(options.model)
    workload = load_object(entry.load)(**entry.arguments)
    kinds = workload.parameter_kinds(model := workload.build_model(0))
    templates = [Parameter(name, p, kinds[name]) for name, p in model.named_parameters()]
    medians = []
    for name in dict.fromkeys(options.only):
        library = LIBRARY[name]
        hparams = {key: hyperparameters.default(domain) for key, domain in parts[name].space.items()}
        part = partial(_build_part, parts[name].load)
        try:
            ratios = sorted(
                _measure_ratio(templates, hparams, part, library, options.steps) for _ in range(options.repetitions)
            )
        except ImportError as error:
            print(f"{name:22s} {error.name} is not installed")
            continue
        medians.append(statistics.median(ratios))
        print(f"{name:22s} smallest {ratios[0]:.3f}  median {medians[-1]:.3f}", flush=True)
    if not medians:
        sys.exit("nothing was measured, because none of the libraries is installed")
    print(f"largest median {max(medians):.3f}: {'within' if max(medians) <= LIMIT else 'above'} {LIMIT}")


def _measure_ratio(
    templates: Sequence[Parameter],
    hparams: dict[str, Any],
    part: BuildOptimizer,
    library: BuildOptimizer,
    steps: int,
) -> float:
    """Return the median over steps of the ratio: seconds of the part's step / seconds of the library's step."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(p.tensor.shape, generator=generator) for p in templates]
    copies_and_optimizers = []
    for build in (part, library):
        copies = [Parameter(p.name, nn.Parameter(p.tensor.detach().clone()), p.kind) for p in templates]
        optimizers = build(copies, dict(hparams))
        copies_and_optimizers.append((copies, optimizers if isinstance(optimizers, list | tuple) else [optimizers]))
    seconds_of: list[list[float]] = [[], []]
    for step in range(steps):
        for side in (0, 1) if step % 2 else (1, 0):
            seconds_of[side].append(_step(*copies_and_optimizers[side], gradients, 1.0 if step % 4 < 2 else -1.0))
    part_s, library_s = (seconds[FIRST_STEPS:] for seconds in seconds_of)
    return statistics.median(a / b for a, b in zip(part_s, library_s, strict=True))


def _step(
    parameters: Sequence[Parameter], optimizers: Sequence[Any], gradients: Sequence[Tensor], sign: float
) -> float:
    """Make one step, and return its seconds.

    `sign` is the sign of the gradients. The caller alternates it, because with constant gradients, optimizers that
    adapt their rate diverge.
    """
    for p, gradient in zip(parameters, gradients, strict=True):
        p.tensor.grad = sign * gradient
    began = process_time()
    for optimizer in optimizers:
        optimizer.step()
    return process_time() - began


def _build_part(load: str, parameters: Sequence[Parameter], hparams: dict[str, Any]) -> Any:
    return load_object(load)(parameters, **hparams)


# --- library optimizers ----------------------------------------------------------------------------------------------


def _library(
    where: str, options: Callable[[dict[str, Any]], dict[str, Any]], train: bool = False, grouped: bool = True
) -> BuildOptimizer:
    """Return a function that builds a library optimizer with the same parameter groups as the part.

    Args:
        where: import path of the optimizer's class, `module:Class`.
        options: function from the hyperparameters to the keyword arguments of the class.
        train: whether `optimizer.train()` is called after construction.
        grouped: whether the optimizer gets parameter groups with and without weight decay.
    """

    def build(parameters: Sequence[Parameter], h: dict[str, Any]) -> Any:
        module, _, name = where.partition(":")
        groups: Any = decay_groups(parameters, h["weight_decay"]) if grouped else [p.tensor for p in parameters]
        optimizer = getattr(importlib.import_module(module), name)(groups, **options(h))
        if train:
            optimizer.train()
        return optimizer

    return build


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


LIBRARY: dict[str, BuildOptimizer] = {
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


def _skip_timm_models() -> None:
    """Make `timm.optim` importable without executing timm's `__init__` modules, which import its models."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    for name, place in (("timm", folder), ("timm.optim", folder / "optim")):
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package


if __name__ == "__main__":
    main()
