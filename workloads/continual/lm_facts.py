"""The continual workload on language as data; nothing heavy is imported."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Choice, Stage, Target, Uniform, WorkloadFacts

_CAP = 12_288
_NATS = "nats per token"

CONTINUAL_LM = WorkloadFacts(
    name="continual-lm",
    version="1",
    tier="cpu",
    access="stream",
    targets=(Target(metric="loss", goal="min", value=1.28, unit=_NATS),),
    stages=(
        Stage(
            name="domain-0",
            targets=(Target(metric="loss", goal="min", value=1.3, unit=_NATS),),
            max_examples=_CAP,
        ),
        Stage(
            name="domain-1",
            targets=(Target(metric="loss", goal="min", value=1.28, unit=_NATS),),
            # The mean alone could be bought with one domain.
            floors=(Target(metric="loss/0", goal="min", value=1.4, unit=_NATS),),
            max_examples=_CAP,
        ),
    ),
    # Room for as many replayed as fresh examples, and as much again.
    budget=Budget(horizon=2 * _CAP, gradient_examples=8 * _CAP, seconds={"default": 150.0}),
    batch_sizes=(16, 32, 64),
    eval_every=192,
    model_options={
        "dropout": Uniform(0.0, 0.3, default=0.0),
        "label_smoothing": Uniform(0.0, 0.2, default=0.0),
        "activation": Choice(("relu2", "gelu", "swiglu")),
        "norm": Choice(("layernorm", "rmsnorm")),
    },
    example="sequence of 64 characters",
    tokens_per_example=64,
    replay_capacity=1_000,
    boundaries=True,
    resolution=None,
    reference=(),
)
CONTINUAL_LM_NARROW = msgspec.structs.replace(CONTINUAL_LM, name="continual-lm+narrow")
