"""The workload `curriculum-mnist` as data; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Budget, Target, Uniform, WorkloadFacts

#: Examples in the pool, and the share of them whose labels are all right.
POOL = 20_000
CLEAN_SHARE = 0.2
#: The label of any other example is wrong with a probability that is drawn for it from this range.
NOISE = (0.05, 0.5)
#: Share of the visible score's variance that is the true quality's.
RELIABILITY = 0.7

_TARGETS = {"": 0.48, "narrow": 0.56}

_REFERENCE = {
    "": "benchmarks/pilot_mnist.py curriculum --lr 3e-3 (AdamW, cosine, random order), seeds 100-103: 4 of 4",
    "narrow": "benchmarks/pilot_mnist.py curriculum --variant narrow --lr 3e-3, seeds 100-101: 2 of 2",
}


def hidden(variant: str) -> tuple[int, ...]:
    """Widths of the hidden layers."""
    return (50,) if variant == "narrow" else (256,)


def _facts(variant: str) -> WorkloadFacts:
    horizon = 40_960
    return WorkloadFacts(
        name="curriculum-mnist" + (f"+{variant}" if variant else ""),
        version="1",
        tier="cpu",
        targets=(Target(metric="cross_entropy", goal="min", value=_TARGETS[variant], unit="nats"),),
        budget=Budget(horizon=horizon, gradient_examples=2 * horizon, seconds={"default": 60.0}),
        batch_sizes=(64, 32, 128),
        eval_every=512,
        model_options={"dropout": Uniform(0.0, 0.5, default=0.0), "label_smoothing": Uniform(0.0, 0.2, default=0.0)},
        example="28x28 image",
        scores=("quality",),
        # One standard error over 8,000 images against the slope of the reference's curve near the target.
        resolution=0.05,
        coarse=True,
        reference=(_REFERENCE[variant],),
    )


FACTS = {variant: _facts(variant) for variant in ("", "narrow")}
