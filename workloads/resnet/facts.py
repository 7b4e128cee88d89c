"""Facts of the image workloads, as plain data. This module must not import torch."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Choice, Domain, Precision, Target, Uniform, WorkloadFacts
from workloads.calibrated import calibrated

_OPTIONS: dict[str, Domain] = {
    "dropout": Uniform(0.0, 0.5, default=0.0),
    "label_smoothing": Uniform(0.0, 0.2, default=0.0),
    "activation": Choice(("relu", "gelu", "silu")),
    "norm": Choice(("batch", "group", "none")),
    # With norm=batch: number of examples over which statistics are computed. 0 means the whole batch.
    "ghost_bn": Choice((0, 16, 32, 64)),
}


def _variant(base: WorkloadFacts, name: str, fixed: str | None = None) -> WorkloadFacts:
    """Return the facts of a variant of `base`.

    Args:
        base: facts of the workload.
        name: name of the variant.
        fixed: model option that the variant sets itself. Submissions cannot request this option. None for no option.
    """
    options = {option: domain for option, domain in base.model_options.items() if option != fixed}
    return msgspec.structs.replace(base, name=f"{base.name}+{name}", model_options=options)


_DIGITS = WorkloadFacts(
    name="resnet-digits",
    version="4",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.281, unit="nats"),),
    # At larger budgets, the loss of the reference falls little, so its noise is a large noise of compute multipliers.
    budget=Budget(horizon=4_096, gradient_examples=8_192, seconds={"default": 60.0}),
    # The default batch size is 16, so a run has 256 updates. With 64, a run has only 64. As a default, these would be
    # too few to compare more than the beginning of training.
    batch_sizes=(16, 32, 64),
    eval_every=256,
    model_options=_OPTIONS,
    example="8x8 image",
)
#: Facts by the variant's name; the workload itself has an empty name. The split `score` has 542 images, which is too
#: few for a resolution of 2 %.
DIGITS_VARIANTS = {
    "": calibrated(_DIGITS, easy=0.466, main=0.281, hard=0.206, resolution=0.025, evaluations=9.5),
    "gelu": calibrated(
        _variant(_DIGITS, "gelu", fixed="activation"),
        easy=0.26,
        main=0.171,
        hard=0.148,
        resolution=0.045,
        evaluations=11,
    ),
}
RESNET_DIGITS = DIGITS_VARIANTS[""]

_SYNTHETIC = WorkloadFacts(
    name="resnet-synthetic",
    version="1",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=1.1, unit="nats"),),
    # The length of `resnet-digits`. With more examples, the loss of the reference falls little (ADR 27).
    budget=Budget(horizon=4_096, gradient_examples=8_192, seconds={"default": 120.0}),
    batch_sizes=(16, 32, 64),
    # With 64 evaluations instead of 32, the evaluations would take longer than the training.
    eval_every=128,
    model_options=_OPTIONS,
    example="8x8 image",
)
#: Facts by the variant's name; the workload itself has an empty name.
SYNTHETIC_VARIANTS = {
    "": calibrated(_SYNTHETIC, easy=1.17, main=1.1, hard=0.885, resolution=0.027, evaluations=17.5),
    "classes": calibrated(
        _variant(_SYNTHETIC, "classes"), easy=1.33, main=1.3, hard=1.25, resolution=0.028, evaluations=18
    ),
}
RESNET_SYNTHETIC = SYNTHETIC_VARIANTS[""]

_FASHION = WorkloadFacts(
    name="resnet-fashion",
    version="4",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.331, unit="nats"),),
    budget=Budget(horizon=92_160, gradient_examples=184_320, seconds={"default": 300.0}),
    batch_sizes=(128, 64, 256),
    eval_every=1_536,
    # bfloat16 is faster on processors with bfloat16 matrix instructions, and much slower on others.
    precision=Precision(dtype="float32"),
    model_options=_OPTIONS,
    example="28x28 image",
)
#: Facts by the variant's name; the workload itself has an empty name.
FASHION_VARIANTS = {
    "": calibrated(_FASHION, easy=0.353, main=0.331, hard=0.304, resolution=0.062, evaluations=36),
    "unit-init": calibrated(
        _variant(_FASHION, "unit-init"), easy=0.335, main=0.319, hard=0.304, resolution=0.053, evaluations=35
    ),
}
RESNET_FASHION = FASHION_VARIANTS[""]

# The workloads below are not yet calibrated on their hardware. Their resolution is unknown, so they are coarse and do
# not count in the anchored score. Targets and budgets follow the literature. The training sets are slightly smaller
# than there, because `feedback` and `audit` are taken from them.

_GPU_OPTIONS: dict[str, Domain] = {
    **_OPTIONS,
    "norm": Choice(("batch", "group")),
    "ghost_bn": Choice((0, 32, 64, 128)),
}

RESNET9_CIFAR10 = WorkloadFacts(
    name="resnet9-cifar10",
    version="3",
    tier="gpu",
    targets=(Target(metric="accuracy", goal="max", value=0.93, unit="share"),),
    # The horizon is 36 passes over the training set.
    budget=Budget(horizon=1_703_936, gradient_examples=3_407_872, seconds={"default": 1_800.0}),
    batch_sizes=(512, 128, 256, 1024),
    eval_every=16_384,
    precision=Precision(dtype="bfloat16", compile=True),
    model_options=_GPU_OPTIONS,
    example="32x32 image",
    coarse=True,
)

RESNET_CIFAR10 = WorkloadFacts(
    name="resnet-cifar10",
    version="3",
    tier="gpu",
    targets=(Target(metric="accuracy", goal="max", value=0.94, unit="share"),),
    # The horizon is 60 passes over the training set.
    budget=Budget(horizon=2_826_240, gradient_examples=5_652_480, seconds={"default": 7_200.0}),
    batch_sizes=(512, 128, 256, 1024),
    eval_every=20_480,
    precision=Precision(dtype="bfloat16", compile=True),
    model_options=_GPU_OPTIONS,
    example="32x32 image",
    coarse=True,
)

RESNET50_IMAGENET = WorkloadFacts(
    name="resnet50-imagenet",
    version="3",
    tier="cluster",
    # The target is AlgoPerf's validation target. The horizon is about AlgoPerf's horizon: 186,666 steps of 1,024
    # images.
    targets=(Target(metric="accuracy", goal="max", value=0.77431, unit="share"),),
    budget=Budget(horizon=191_692_800, gradient_examples=383_385_600, seconds={"default": 315_000.0}),
    batch_sizes=(1024, 256, 512, 2048),
    eval_every=1_228_800,
    precision=Precision(dtype="bfloat16", compile=True),
    model_options=_GPU_OPTIONS,
    example="224x224 image",
    coarse=True,
)
