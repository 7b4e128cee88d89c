"""Facts of `curriculum-mnist` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Target, Uniform, WorkloadFacts
from workloads.calibrated import calibrated

#: `POOL`: number of examples in the pool. `CLEAN_SHARE`: fraction of them whose labels are never wrong.
POOL = 40_000
CLEAN_SHARE = 0.2
#: Each of the other examples has a probability of a wrong label, drawn uniformly from this range.
NOISE = (0.05, 0.5)
#: Fraction of the variance of the noisy quality, by which examples are ranked, that the true quality explains.
RELIABILITY = 0.7


def hidden(variant: str) -> tuple[int, ...]:
    """Return the widths of the hidden layers of the network of a variant."""
    return (50,) if variant == "narrow" else (256,)


_HORIZON = 128_000
_FACTS = WorkloadFacts(
    name="curriculum-mnist",
    version="7",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.399, unit="nats"),),
    # A step of SOAP takes about 16 times as long as one of AdamW.
    budget=Budget(horizon=_HORIZON, gradient_examples=2 * _HORIZON, seconds={"default": 200.0}),
    batch_sizes=(64, 32, 128),
    eval_every=1_280,
    model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
    example="28x28 image",
    scores=("quality",),
)
FACTS = {
    "": calibrated(_FACTS, easy=0.403, main=0.399, hard=0.38, resolution=0.032, evaluations=57),
    "narrow": calibrated(
        msgspec.structs.replace(_FACTS, name="curriculum-mnist+narrow"),
        easy=0.471,
        main=0.471,
        hard=0.459,
        resolution=0.014,
        evaluations=44,
    ),
}
