"""The curriculum workload on language as data; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Budget, Target, WorkloadFacts
from workloads.continual.lm_facts import CONTINUAL_LM

CURRICULUM_LM = WorkloadFacts(
    name="curriculum-lm",
    version="2",
    tier="cpu",
    targets=(Target(metric="loss", goal="min", value=1.42, unit="nats per token"),),
    budget=Budget(horizon=24_576, gradient_examples=49_152, seconds={"default": 150.0}),
    batch_sizes=(16, 32, 64),
    eval_every=256,
    model_options=CONTINUAL_LM.model_options,
    example="sequence of 64 characters",
    tokens_per_example=64,
    scores=("quality",),
    resolution=None,
    reference=(),
)
