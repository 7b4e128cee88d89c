"""The workloads `continual-mnist` and its scenarios as data; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from harness.api import Budget, Stage, Target, Uniform, WorkloadFacts
from workloads.calibrated import calibration

Scenario: TypeAlias = Literal["class", "domain", "task", "permuted"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

#: Per stage: the mean accuracy over the tasks seen that lets the stream move on, from the calibrations.
_AVERAGES: dict[str, tuple[float, ...]] = {
    "class": (0.979, 0.92, 0.887, 0.833, 0.805),
    "domain": (0.965, 0.951, 0.895, 0.875, 0.84),
    "task": (0.977, 0.977, 0.976, 0.976, 0.975),
    "permuted": (0.901, 0.901, 0.891, 0.878, 0.869),
    "class+narrow": (0.973, 0.898, 0.877, 0.817, 0.71),
}
_FLOORS = {"class": 0.4, "domain": 0.3, "task": 0.9, "permuted": 0.7, "class+narrow": 0.4}
_RESOLUTIONS = {"class": 0.0, "domain": 0.0045, "task": 0.018, "permuted": 0.28, "class+narrow": 0.02}
_CAP = 4_096
#: Fewer, and a stage that a lucky evaluation ends early leaves too little in the reservoir for those that follow.
_LEAST = 1_024


def hidden(variant: str) -> tuple[int, ...]:
    """Widths of the hidden layers."""
    return (50, 50) if variant == "narrow" else (200, 200)


def _stage(key: str, index: int) -> Stage:
    averages = _AVERAGES[key]
    last = index == len(averages) - 1
    floor = _FLOORS[key]
    return Stage(
        name=f"task-{index}",
        targets=(Target(metric="avg_seen", goal="max", value=averages[index]),),
        # Only at the end: until then a task may dip, as long as the mean over all is met.
        floors=tuple(Target(metric=f"accuracy/{k}", goal="max", value=floor) for k in range(index)) if last else (),
        max_examples=_CAP,
        min_examples=_LEAST,
    )


def _facts(name: str, key: str) -> WorkloadFacts:
    stages = tuple(_stage(key, k) for k in range(len(_AVERAGES[key])))
    horizon = _CAP * len(stages)
    return WorkloadFacts(
        name=name,
        version="4",
        tier="cpu",
        access="stream",
        targets=stages[-1].targets,
        stages=stages,
        # Room for as many replayed as fresh examples, and as much again.
        budget=Budget(horizon=horizon, gradient_examples=4 * horizon, seconds={"default": 120.0}),
        batch_sizes=(32, 16, 64),
        eval_every=64,
        model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
        example="28x28 image",
        replay_capacity=500,
        boundaries=True,
        resolution=_RESOLUTIONS[key],
        # Most stages end as soon as they may, or never: few evaluations tell one run's time from another's.
        coarse=True,
        reference=(calibration(name),),
    )


#: By scenario and variant. Class-incremental is what the plain name means; it has no second entry.
FACTS: dict[tuple[str, str], WorkloadFacts] = {
    ("class", ""): _facts("continual-mnist", "class"),
    ("domain", ""): _facts("continual-mnist:domain", "domain"),
    ("task", ""): _facts("continual-mnist:task", "task"),
    ("permuted", ""): _facts("continual-mnist:permuted", "permuted"),
    ("class", "narrow"): _facts("continual-mnist+narrow", "class+narrow"),
}
