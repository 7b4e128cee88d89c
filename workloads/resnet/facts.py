"""The image workloads as data; nothing heavy is imported."""

from __future__ import annotations

import msgspec

from harness.api import Budget, Choice, Domain, Precision, Target, Uniform, WorkloadFacts

_OPTIONS: dict[str, Domain] = {
    "dropout": Uniform(0.0, 0.5, default=0.0),
    "label_smoothing": Uniform(0.0, 0.2, default=0.0),
    "activation": Choice(("relu", "gelu", "silu")),
    "norm": Choice(("batch", "group", "none")),
}


def _variant(base: WorkloadFacts, name: str, fixed: str | None = None) -> WorkloadFacts:
    """The facts of a workload that differs from `base` in one detail; `fixed` is the option that this withdraws.

    The target is the base's until calibration sets it from the base's best setting: no run backs it, so
    neither `reference` nor `resolution` is taken over.
    """
    options = {option: domain for option, domain in base.model_options.items() if option != fixed}
    return msgspec.structs.replace(
        base, name=f"{base.name}+{name}", model_options=options, resolution=None, reference=()
    )


RESNET_DIGITS = WorkloadFacts(
    name="resnet-digits",
    version="1",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.085, unit="nats"),),
    levels={"easy": (Target(metric="cross_entropy", goal="min", value=0.1, unit="nats"),)},
    budget=Budget(horizon=28_672, gradient_examples=57_344, seconds={"default": 60.0}),
    batch_sizes=(64, 32, 128),
    eval_every=256,
    model_options=_OPTIONS,
    example="8x8 image",
    # Measured where the mean curve crosses; 542 images are too few for 2 %.
    resolution=0.055,
    coarse=True,
    reference=("benchmarks/pilot_digits.py resnet --lr 1e-2, seeds 100-109: 10 of 10",),
)

#: By the variant's name; the base has none.
DIGITS_VARIANTS = {"": RESNET_DIGITS, "gelu": _variant(RESNET_DIGITS, "gelu", fixed="activation")}

RESNET_FASHION = WorkloadFacts(
    name="resnet-fashion",
    version="1",
    tier="cpu",
    targets=(Target(metric="cross_entropy", goal="min", value=0.3, unit="nats"),),
    budget=Budget(horizon=184_320, gradient_examples=368_640, seconds={"default": 300.0}),
    batch_sizes=(128, 64, 256),
    eval_every=2_048,
    # bfloat16 is quicker where the processor multiplies matrices of it, and much slower where it does not.
    precision=Precision(dtype="float32"),
    model_options=_OPTIONS,
    example="28x28 image",
    # Preliminary, until calibration: three seeds at lr 2e-2 end at 0.263 to 0.270. At 0.275 one standard error of
    # 4,000 images is 11 % of the time; at 0.3, where the curve is steeper, it is less and not measured.
    resolution=None,
    coarse=True,
    reference=("benchmarks/pilot_fashion.py --lr 2e-2, seeds 100-102: 3 of 3",),
)

#: By the variant's name; the base has none.
FASHION_VARIANTS = {"": RESNET_FASHION, "unit-init": _variant(RESNET_FASHION, "unit-init")}

# Nobody has run the larger ones yet on a machine that they are meant for: targets and budgets are what the literature
# suggests, on training sets that are a little smaller, since `feedback` and `audit` are cut from them.

_GPU_OPTIONS: dict[str, Domain] = {**_OPTIONS, "norm": Choice(("batch", "group"))}

RESNET9_CIFAR10 = WorkloadFacts(
    name="resnet9-cifar10",
    version="1",
    tier="gpu",
    targets=(Target(metric="accuracy", goal="max", value=0.93, unit="share"),),
    # 36 passes.
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
    version="1",
    tier="gpu",
    targets=(Target(metric="accuracy", goal="max", value=0.94, unit="share"),),
    # 60 passes.
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
    version="1",
    tier="cluster",
    # AlgoPerf's validation target, and about its number of steps (186,666 of 1,024 images).
    targets=(Target(metric="accuracy", goal="max", value=0.77431, unit="share"),),
    budget=Budget(horizon=191_692_800, gradient_examples=383_385_600, seconds={"default": 315_000.0}),
    batch_sizes=(1024, 256, 512, 2048),
    eval_every=1_228_800,
    precision=Precision(dtype="bfloat16", compile=True),
    model_options=_GPU_OPTIONS,
    example="224x224 image",
)
