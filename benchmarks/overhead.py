"""Measure the overhead of the harness per training step, relative to a hand-written loop.

The harness and the hand-written loop train the same model with the same optimizer, schedule, data and threads. Times
are processor seconds of one thread. Within a repetition, steps alternate (loop, harness, harness, loop …) in one
process, so that drift of the machine's speed cancels.

A repetition's ratio is the harness's mean time per step / the loop's mean time per step. The means omit the fastest and
the slowest tenth of the steps, which other processes may have affected. Each repetition builds both models anew: a
model's location in memory changes its speed by up to 0.7 %, even between two hand-written loops. The last line is the
upper bound of the 95 % interval of the mean ratio.

    python benchmarks/overhead.py [--workload lm-tiny] [--repetitions 30] [--steps 40]
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import torch
from scipy import stats

from harness.contract.events import AnyEvent
from harness.contract.run import Job, RunSpec
from harness.contract.schedule import planned_updates
from harness.hardware import detect
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.loading import load_object
from harness.plugins.registry import load_registry
from harness.worker import setup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="lm-tiny")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    if options.repetitions < 20:
        parser.error(f"--repetitions {options.repetitions} is too small for an interval; use at least 20")
    registry = load_registry()
    settings = PlanSettings(ruleset=rulesets.ruleset("quick"))
    spec = plan_trials(registry.workload(options.workload), registry.submission("adamw-cosine"), registry, settings)[0]
    ratios = []
    for repetition in range(options.repetitions):
        if repetition % 2:
            bare, in_harness = _bare_step(spec), _harness_step(spec)
        else:
            in_harness, bare = _harness_step(spec), _bare_step(spec)
        gc.collect()
        gc.disable()
        _time_alternating(in_harness, bare, 4)  # warm caches and allocators
        spent = _time_alternating(in_harness, bare, options.steps)
        gc.enable()
        ratios.append(spent[0] / spent[1])
        harness_ms, bare_ms = 1e3 * spent[0], 1e3 * spent[1]
        print(f"{repetition + 1:3d}  harness {harness_ms:.3f} ms  bare {bare_ms:.3f} ms  ratio {ratios[-1]:.4f}")
    _report(ratios, spec, spent[1])


def _time_alternating(in_harness: Callable[[], None], bare: Callable[[], None], steps: int) -> tuple[float, float]:
    """Return the processor seconds per step of `in_harness` and of `bare`, as trimmed means over `steps` steps."""
    seconds_of: dict[Callable[[], None], list[float]] = {in_harness: [], bare: []}
    for index in range(steps):
        for step in (in_harness, bare) if index % 2 else (bare, in_harness):
            began = process_time()
            step()
            seconds_of[step].append(process_time() - began)
    return float(stats.trim_mean(seconds_of[in_harness], 0.1)), float(stats.trim_mean(seconds_of[bare], 0.1))


def _harness_step(spec: RunSpec) -> Callable[[], None]:
    """Return a function that makes one step of a run of the harness."""

    def ignore(event: AnyEvent) -> None: ...

    folder = tempfile.mkdtemp()
    run = setup.start_run(Job(spec=spec, folder=folder, evaluation_folder=folder, resume=False), ignore)

    def step() -> None:
        # The loop of the worker also compares two counters with their limits before each step.
        if run.work.examples < math.inf and run.work.gradient_examples < math.inf:
            run.work.begin_step()
            run.submission.step(run.work)
            run.work.end_step()

    return step


def _bare_step(spec: RunSpec) -> Callable[[], None]:
    """Return a function that makes one step of the same training in plain PyTorch."""
    workload: Any = load_object(spec.workload.load)(**spec.workload.arguments)
    model = workload.build_model(spec.seeds.model)
    pool = workload.train_data(spec.seeds.data)
    kinds = workload.parameter_kinds(model)
    hp = spec.hparams
    decayed = [p for n, p in model.named_parameters() if kinds[n] not in ("norm", "bias")]
    others = [p for n, p in model.named_parameters() if kinds[n] in ("norm", "bias")]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": hp["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=float(hp["lr"]), betas=(float(hp["beta1"]), float(hp["beta2"])), eps=float(hp["eps"]), fused=True
    )
    batch_size = int(hp["batch_size"])
    horizon = planned_updates(spec.workload.facts.budget.horizon, float(hp["horizon_fraction"]), batch_size)
    warmup = float(hp["warmup"]) * horizon
    order = torch.randperm(len(pool))
    state = {"step": 0, "position": 0}

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (horizon - warmup))))

    def step() -> None:
        nonlocal order
        if state["position"] + batch_size > len(order):
            order, state["position"] = torch.randperm(len(pool)), 0
        batch = pool.gather(order[state["position"] : state["position"] + batch_size])
        state["position"] += batch_size
        for group in optimizer.param_groups:
            group["lr"] = float(hp["lr"]) * factor(state["step"])
        optimizer.zero_grad(set_to_none=True)
        loss = workload.loss(model, batch)
        loss.backward()
        optimizer.step()
        state["step"] += 1

    return step


def _report(ratios: list[float], spec: RunSpec, seconds: float) -> None:
    logs = np.log(ratios)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    low, mean, high = (math.exp(logs.mean() + shift) for shift in (-half, 0.0, half))
    print(f"{spec.workload.facts.id}, {1e3 * seconds:.2f} ms per bare step, {spec.hardware}, torch {torch.__version__}")
    print(f"{detect.cpu_name()}, {len(ratios)} repetitions: mean {mean:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    print(f"ratio {high:.4f}")


if __name__ == "__main__":
    main()
