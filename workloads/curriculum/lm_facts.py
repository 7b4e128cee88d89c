"""Facts of `curriculum-lm` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Target, WorkloadFacts
from workloads.calibrated import calibrated
from workloads.continual.lm_facts import CONTINUAL_LM

_CURRICULUM_LM = WorkloadFacts(
    name="curriculum-lm",
    version="6",
    tier="cpu",
    targets=(Target(metric="loss", goal="min", value=1.36, unit="nats per token"),),
    budget=Budget(horizon=30_720, gradient_examples=61_440, seconds={"default": 150.0}),
    batch_sizes=(16, 32, 64),
    eval_every=320,
    model_options=CONTINUAL_LM.model_options,
    example="sequence of 64 characters",
    tokens_per_example=64,
    scores=("quality",),
)
CURRICULUM_LM = calibrated(_CURRICULUM_LM, easy=1.38, main=1.36, hard=1.33, resolution=0.009, evaluations=59)
CURRICULUM_LM_WIDE_INIT = calibrated(
    msgspec.structs.replace(_CURRICULUM_LM, name="curriculum-lm+wide-init"),
    easy=1.37,
    main=1.34,
    hard=1.33,
    resolution=0.016,
    evaluations=60,
)
