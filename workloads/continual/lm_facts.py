"""Facts of `continual-lm` and of its variant, as plain data. This module must not import torch."""

from __future__ import annotations

from harness.api import Budget, Choice, Stage, Target, Uniform, WorkloadFacts, is_coarse
from workloads.calibrated import calibration

#: Maximum number of examples per stage.
_CAP = 12_288
#: Floor: the maximum loss on the first domain when the last stage ends. Without a floor, a low loss on the second
#: domain could compensate for a high loss on the first domain.
_FLOOR = 1.4


def _target(metric: str, value: float) -> Target:
    return Target(metric=metric, goal="min", value=value, unit="nats per token")


def _facts(name: str, first: float, second: float, resolution: float, evaluations: float) -> WorkloadFacts:
    """Return the facts of the workload `name`.

    Args:
        name: name of the workload.
        first, second: targets of the two stages in nats per token, from the calibration.
        resolution, evaluations: resolution and median number of evaluations from the calibration.
    """
    last = (_target("loss", second),)
    return WorkloadFacts(
        name=name,
        version="2",
        tier="cpu",
        access="stream",
        targets=last,
        stages=(
            Stage(name="domain-0", targets=(_target("loss", first),), max_examples=_CAP),
            Stage(name="domain-1", targets=last, floors=(_target("loss/0", _FLOOR),), max_examples=_CAP),
        ),
        # If every batch has as many replayed as new examples, a run uses two gradient-examples per example of the
        # horizon. The budget allows twice that number.
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
        resolution=resolution,
        coarse=is_coarse(resolution, evaluations),
        reference=(calibration(name),),
    )


CONTINUAL_LM = _facts("continual-lm", 1.17, 1.17, resolution=0.053, evaluations=91.5)
CONTINUAL_LM_NARROW = _facts("continual-lm+narrow", 1.21, 1.22, resolution=0.049, evaluations=82)
