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

_TARGETS = {"": 0.55, "narrow": 0.6}


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
        reference=(),
    )


FACTS = {variant: _facts(variant) for variant in ("", "narrow")}
