"""Facts of `continual-mnist` for each scenario and variant, as plain data. This module must not import torch."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from harness.api import Budget, Stage, Target, Uniform, WorkloadFacts
from workloads.calibrated import calibration

Scenario: TypeAlias = Literal["class", "domain", "task", "permuted"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

#: Target of each stage, from the calibrations: the mean accuracy over the tasks seen so far. A stage ends when its
#: target is met.
_AVERAGES: dict[str, tuple[float, ...]] = {
    "class": (0.954, 0.893, 0.812, 0.716, 0.709),
    "domain": (0.964, 0.935, 0.887, 0.859, 0.853),
    "task": (0.947, 0.968, 0.967, 0.962, 0.944),
    "permuted": (0.877, 0.901, 0.898, 0.871, 0.862),
    "class+narrow": (0.907, 0.76, 0.667, 0.547, 0.532),
}
#: Floors: the minimum accuracy of every earlier task when the last stage ends.
_FLOORS = {"class": 0.4, "domain": 0.3, "task": 0.9, "permuted": 0.7, "class+narrow": 0.4}
#: Resolutions from the calibrations; docs/glossary.md defines the term.
_RESOLUTIONS = {"class": 0.0, "domain": 0.0, "task": 0.0, "permuted": 0.13, "class+narrow": 0.0}
#: Maximum number of examples of each stage. The first stage is short. With 8,192 examples, the reference would classify
#: more than 99 % of the images of two digits correctly, and would fail on pairs of digits that are harder to separate.
_CAPS = (1_536, 8_192, 8_192, 8_192, 8_192)
#: Minimum number of examples of each stage. Without it, a stage could meet its target early by chance, and leave too few
#: examples in the replay reservoir (the stored examples of earlier stages).
_LEAST = (768, 3_584, 3_584, 3_584, 3_584)


def hidden(variant: str) -> tuple[int, ...]:
    """Return the widths of the hidden layers of the network of a variant."""
    return (100, 100) if variant == "narrow" else (400, 400)


def _stage(key: str, index: int) -> Stage:
    averages = _AVERAGES[key]
    last = index == len(averages) - 1
    floor = _FLOORS[key]
    return Stage(
        name=f"task-{index}",
        targets=(Target(metric="avg_seen", goal="max", value=averages[index]),),
        # Floors apply only when the last stage ends. In earlier stages, only the mean accuracy must meet its target.
        floors=tuple(Target(metric=f"accuracy/{k}", goal="max", value=floor) for k in range(index)) if last else (),
        max_examples=_CAPS[index],
        min_examples=_LEAST[index],
    )


def _facts(name: str, key: str) -> WorkloadFacts:
    stages = tuple(_stage(key, k) for k in range(len(_AVERAGES[key])))
    horizon = sum(_CAPS)
    return WorkloadFacts(
        name=name,
        version="5",
        tier="cpu",
        access="stream",
        targets=stages[-1].targets,
        stages=stages,
        # If every batch has as many replayed as new examples, a run uses two gradient-examples per example of the
        # horizon. The budget allows twice that number.
        budget=Budget(horizon=horizon, gradient_examples=4 * horizon, seconds={"default": 120.0}),
        batch_sizes=(16, 32, 64),
        eval_every=256,
        model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
        example="28x28 image",
        replay_capacity=500,
        boundaries=True,
        resolution=_RESOLUTIONS[key],
        # Most stages end at their minimum number of examples, or miss their target. Too few stages end in between to
        # distinguish two runs.
        coarse=True,
        reference=(calibration(name),),
    )


#: Facts by scenario and variant. The workload of the scenario `class` is named `continual-mnist`, without a scenario.
FACTS: dict[tuple[str, str], WorkloadFacts] = {
    ("class", ""): _facts("continual-mnist", "class"),
    ("domain", ""): _facts("continual-mnist:domain", "domain"),
    ("task", ""): _facts("continual-mnist:task", "task"),
    ("permuted", ""): _facts("continual-mnist:permuted", "permuted"),
    ("class", "narrow"): _facts("continual-mnist+narrow", "class+narrow"),
}
