"""Facts of `continual-digits` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Target, Uniform, WorkloadFacts, is_coarse
from workloads.calibrated import calibration
from workloads.continual.stages import accuracy_stages

#: Target of each stage, from the calibration: the mean accuracy over the tasks seen so far. A stage ends when its
#: target is met.
_AVERAGES = (0.989, 0.946, 0.888, 0.874, 0.875)
#: The targets of the variant with noisy labels.
_NOISY_AVERAGES = (0.933, 0.893, 0.765, 0.636, 0.732)
#: Floors: the minimum accuracy of every earlier task when the last stage ends. The variant with noisy labels has a
#: lower floor, because its replay reservoir (stored examples of earlier stages) contains wrong labels.
_FLOOR, _NOISY_FLOOR = 0.3, 0.2
#: Number of stages. Each stage has two digits.
TASKS = 5
#: Maximum number of examples per stage. There are two reasons against more. The accuracy of the reference would rise so
#: slowly that its noise would be a large noise of compute multipliers. And the reference would classify every image of
#: the first stage correctly, so that the target of this stage would be an accuracy of 1. A run with one wrong image
#: would miss it. Calibration could not make it easier: an error of 0, multiplied by a factor, stays 0.
_CAP = 1_536
#: Minimum number of examples per stage.
_LEAST = 768
#: Fraction of wrong labels in the variant `+noise`.
LABEL_NOISE = 0.1


CONTINUAL_DIGITS = WorkloadFacts(
    name="continual-digits",
    version="5",
    tier="cpu",
    access="stream",
    targets=(Target(metric="avg_seen", goal="max", value=_AVERAGES[-1]),),
    stages=accuracy_stages(_AVERAGES, floor=_FLOOR, max_examples=_CAP, min_examples=_LEAST),
    budget=Budget(
        horizon=TASKS * _CAP,
        # With as many replayed as new examples in every batch, a run needs two gradient-examples per example of the
        # horizon. The budget is twice that number.
        gradient_examples=4 * TASKS * _CAP,
        seconds={"default": 60.0},
    ),
    batch_sizes=(32, 16, 64),
    eval_every=384,
    model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
    example="8x8 image",
    replay_capacity=500,
    boundaries=True,
    resolution=0.0,
    # Most stages end at their minimum number of examples. Runs differ only in evaluations after this minimum. Their
    # median number is 0.
    coarse=is_coarse(0.0, 0),
    reference=(calibration("continual-digits"),),
)

CONTINUAL_DIGITS_NOISE = msgspec.structs.replace(
    CONTINUAL_DIGITS,
    name="continual-digits+noise",
    targets=(Target(metric="avg_seen", goal="max", value=_NOISY_AVERAGES[-1]),),
    stages=accuracy_stages(_NOISY_AVERAGES, floor=_NOISY_FLOOR, max_examples=_CAP, min_examples=_LEAST),
    resolution=0.0,
    coarse=is_coarse(0.0, 0),
    reference=(calibration("continual-digits+noise"),),
)
