"""Facts of `continual-mnist` for each scenario and variant, as plain data. This module must not import torch."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from harness.api import Budget, Uniform, WorkloadFacts, is_coarse
from workloads.calibrated import calibration
from workloads.continual.stages import accuracy_stages

Scenario: TypeAlias = Literal["class", "domain", "task", "permuted"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

#: Target of each stage, from the calibrations: the mean accuracy over the tasks seen so far. A stage ends when its
#: target is met.
_AVERAGES: dict[str, tuple[float, ...]] = {
    "class": (0.954, 0.868, 0.657, 0.674, 0.658),
    "domain": (0.996, 0.928, 0.899, 0.9, 0.829),
    "task": (0.997, 0.955, 0.957, 0.965, 0.962),
    "permuted": (0.802, 0.807, 0.79, 0.786, 0.778),
    "class+narrow": (0.929, 0.617, 0.641, 0.363, 0.424),
}
#: Floors: the minimum accuracy of every earlier task when the last stage ends.
_FLOORS = {"class": 0.4, "domain": 0.3, "task": 0.9, "permuted": 0.7, "class+narrow": 0.2}
#: Resolutions from the calibrations, and median numbers of evaluations after the minimum of a stage, see `is_coarse`.
#: There are so few evaluations because most stages end at their minimum, or miss their target.
_RESOLUTIONS = {
    "class": (0.0, 0),
    "domain": (0.034, 2),
    "task": (0.038, 1),
    "permuted": (0.024, 2),
    "class+narrow": (0.0, 1),
}
#: Versions. In version 7, the order of the digits is fixed in the scenarios `domain` and `task` (ADR 34).
_VERSIONS = {"domain": "7", "task": "7"}
#: Maximum number of examples per stage. With more, the accuracy of the reference rises so slowly that its noise would
#: be a large noise of compute multipliers. The scenarios `domain` and `task` are easier, so their curves become flat
#: earlier.
_CAPS = {"domain": 384, "task": 256}
_CAP = 512
#: Number of examples between two evaluations.
_EVERY = 128
#: Maximum number of processor seconds of a run. Muon needs 30 times as long as the reference, which can be more than
#: 120 seconds.
_SECONDS = {"domain": 300.0, "task": 300.0}


def hidden(variant: str) -> tuple[int, ...]:
    """Return the widths of the hidden layers of the network of a variant."""
    return (250, 250) if variant == "narrow" else (1_000, 1_000)


def _facts(name: str, key: str) -> WorkloadFacts:
    averages = _AVERAGES[key]
    cap = _CAPS.get(key, _CAP)
    # The minimum is half of the maximum, rounded down to an evaluation.
    least = cap // (2 * _EVERY) * _EVERY
    stages = accuracy_stages(averages, floor=_FLOORS[key], max_examples=cap, min_examples=least)
    horizon = len(averages) * cap
    resolution, evaluations = _RESOLUTIONS[key]
    return WorkloadFacts(
        name=name,
        version=_VERSIONS.get(key, "6"),
        tier="cpu",
        access="stream",
        targets=stages[-1].targets,
        stages=stages,
        # If every batch has as many replayed as new examples, a run uses two gradient-examples per example of the
        # horizon. The budget allows twice that number.
        budget=Budget(horizon=horizon, gradient_examples=4 * horizon, seconds={"default": _SECONDS.get(key, 120.0)}),
        batch_sizes=(16, 32, 64),
        eval_every=_EVERY,
        model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
        example="28x28 image",
        replay_capacity=500,
        boundaries=True,
        resolution=resolution,
        coarse=is_coarse(resolution, evaluations),
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
