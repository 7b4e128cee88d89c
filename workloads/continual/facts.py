"""Facts of `continual-digits` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Stage, Target, Uniform, WorkloadFacts, is_coarse
from workloads.calibrated import calibration

#: Target of each stage, from the calibration: the mean accuracy over the tasks seen so far. A stage ends when its
#: target is met.
_AVERAGES = (0.987, 0.951, 0.901, 0.808, 0.797)
#: The targets of the variant with noisy labels.
_NOISY_AVERAGES = (0.882, 0.882, 0.665, 0.602, 0.487)
#: Floors: the minimum accuracy of every earlier task when the last stage ends. The variant with noisy labels has a
#: lower floor, because its replay reservoir (stored examples of earlier stages) contains wrong labels.
_FLOOR, _NOISY_FLOOR = 0.3, 0.2
#: Maximum number of examples of each stage. The first stage is short, because its two classes are easy to separate. In
#: a longer one, the reference would classify every image correctly, and the target would be an accuracy of 1. A run
#: with one wrong image would miss this target. Calibration could not make it easier: an error of 0, multiplied by a
#: factor, stays 0.
_CAPS = (1_920, 5_120, 5_120, 5_120, 5_120)
#: Minimum number of examples per stage. Without it, a stage could meet its target by chance, and end before the replay
#: reservoir has enough examples of its classes.
_LEAST = 640
#: Fraction of wrong labels in the variant `+noise`.
LABEL_NOISE = 0.1


def _stage(index: int, averages: tuple[float, ...], floor: float) -> Stage:
    last = index == len(averages) - 1
    return Stage(
        name=f"task-{index}",
        targets=(Target(metric="avg_seen", goal="max", value=averages[index]),),
        # Floors apply only when the last stage ends. Until then, one task's accuracy may fall if the mean suffices.
        floors=tuple(Target(metric=f"accuracy/{k}", goal="max", value=floor) for k in range(index)) if last else (),
        max_examples=_CAPS[index],
        min_examples=_LEAST,
    )


CONTINUAL_DIGITS = WorkloadFacts(
    name="continual-digits",
    version="4",
    tier="cpu",
    access="stream",
    targets=(Target(metric="avg_seen", goal="max", value=_AVERAGES[-1]),),
    stages=tuple(_stage(k, _AVERAGES, _FLOOR) for k in range(len(_AVERAGES))),
    budget=Budget(
        horizon=sum(_CAPS),
        # With as many replayed as new examples in every batch, a run needs two gradient-examples per example of the
        # horizon. The budget is twice that number.
        gradient_examples=4 * sum(_CAPS),
        seconds={"default": 60.0},
    ),
    batch_sizes=(32, 16, 64),
    eval_every=320,
    model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
    example="8x8 image",
    replay_capacity=500,
    boundaries=True,
    resolution=0.026,
    # Most stages end at their minimum number of examples. Runs differ only in evaluations after this minimum. Their
    # median number is 1.
    coarse=is_coarse(0.026, 1),
    reference=(calibration("continual-digits"),),
)

CONTINUAL_DIGITS_NOISE = msgspec.structs.replace(
    CONTINUAL_DIGITS,
    name="continual-digits+noise",
    targets=(Target(metric="avg_seen", goal="max", value=_NOISY_AVERAGES[-1]),),
    stages=tuple(_stage(k, _NOISY_AVERAGES, _NOISY_FLOOR) for k in range(len(_NOISY_AVERAGES))),
    resolution=0.044,
    coarse=is_coarse(0.044, 1),
    reference=(calibration("continual-digits+noise"),),
)
