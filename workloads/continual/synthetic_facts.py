"""Facts of `continual-synthetic` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

from harness.api import Budget, Uniform, WorkloadFacts, is_coarse
from workloads.calibrated import calibration
from workloads.continual.stages import accuracy_stages

#: Number of stages. Each stage has one task.
TASKS = 5
#: Targets of the stages by variant, from the calibration: the mean accuracy over the tasks seen so far.
_AVERAGES = {"": (0.955, 0.894, 0.87, 0.828, 0.798), "classes": (0.92, 0.874, 0.848, 0.822, 0.774)}
#: Resolution by variant, and median number of evaluations after the minimum of a stage, from the calibration.
_RESOLUTIONS = {"": (0.063, 4), "classes": (0.051, 3)}
#: Floor: the minimum accuracy of every earlier task when the last stage ends.
_FLOOR = 0.4
#: Maximum number of examples per stage. With more, the accuracy of the reference rises little, so its noise would be a
#: large noise of compute multipliers.
_CAP = 1_280
#: Minimum number of examples per stage.
_LEAST = 640


def _facts(name: str, variant: str) -> WorkloadFacts:
    stages = accuracy_stages(_AVERAGES[variant], floor=_FLOOR, max_examples=_CAP, min_examples=_LEAST)
    resolution, evaluations = _RESOLUTIONS[variant]
    return WorkloadFacts(
        name=name,
        version="1",
        tier="cpu",
        access="stream",
        targets=stages[-1].targets,
        stages=stages,
        budget=Budget(
            horizon=TASKS * _CAP,
            # With as many replayed as new examples in every batch, a run needs two gradient-examples per example of the
            # horizon. The budget is twice that number.
            gradient_examples=4 * TASKS * _CAP,
            seconds={"default": 120.0},
        ),
        batch_sizes=(32, 16, 64),
        # The gate budget has at least 16 evaluations, so it is the whole budget. At 2,560 examples, a quarter of the
        # pairs of submissions have another order than at the whole budget (ADR 27).
        eval_every=320,
        model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
        example="8x8 image",
        replay_capacity=500,
        boundaries=True,
        resolution=resolution,
        coarse=is_coarse(resolution, evaluations),
        reference=(calibration(name),),
    )


#: Facts by the variant's name; the workload itself has an empty name.
FACTS = {"": _facts("continual-synthetic", ""), "classes": _facts("continual-synthetic+classes", "classes")}
