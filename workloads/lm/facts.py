"""The language-model workloads as data; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Budget, Choice, Target, Uniform, WorkloadFacts

LM_TINY = WorkloadFacts(
    name="lm-tiny",
    version="1",
    tier="cpu",
    targets=(Target(metric="loss", goal="min", value=1.11, unit="nats per token"),),
    levels={"easy": (Target(metric="loss", goal="min", value=1.16, unit="nats per token"),)},
    budget=Budget(horizon=32_640, gradient_examples=65_280, seconds={"default": 150.0}),
    batch_sizes=(16, 32, 64, 128),
    eval_every=384,
    model_options={
        "dropout": Uniform(0.0, 0.3, default=0.0),
        "label_smoothing": Uniform(0.0, 0.2, default=0.0),
        "activation": Choice(("relu2", "gelu", "swiglu")),
        "norm": Choice(("layernorm", "rmsnorm")),
        "qk_norm": Choice((True, False)),
    },
    example="sequence of 64 characters",
    tokens_per_example=64,
    # Measured where the reference's mean curve crosses: docs/synthetic-language.md.
    resolution=0.018,
    reference=("benchmarks/language_separation.py, AdamW with a cosine, lr 5e-3, seeds 100-109: 10 of 10",),
)
