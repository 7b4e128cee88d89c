"""The image workloads as data; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Budget, Choice, Target, Uniform, WorkloadFacts

RESNET_DIGITS = WorkloadFacts(
    name="resnet-digits",
    version="1",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.075, unit="nats"),),
    levels={"easy": (Target(metric="cross_entropy", goal="min", value=0.1, unit="nats"),)},
    budget=Budget(horizon=28_672, gradient_examples=57_344, seconds={"default": 60.0}),
    batch_sizes=(64, 32, 128),
    eval_every=256,
    model_options={
        "dropout": Uniform(0.0, 0.5, default=0.0),
        "label_smoothing": Uniform(0.0, 0.2, default=0.0),
        "activation": Choice(("relu", "gelu", "silu")),
        "norm": Choice(("batch", "group", "none")),
    },
    example="8x8 image",
    # Measured where the mean curve crosses; 542 images are too few for 2 %.
    resolution=0.08,
    coarse=True,
    reference=("benchmarks/pilot_digits.py resnet --lr 1e-2, seeds 100-109 and 200-209: 20 of 20",),
)
