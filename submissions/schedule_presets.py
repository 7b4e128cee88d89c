"""Submissions for the schedules, with AdamW or, if the schedule's paper used SGD, also with SGD.

Each submission differs from `adamw-cosine` or `sgd-nesterov` only in the schedule. A comparison with these therefore
measures the effect of the schedule.
"""

from __future__ import annotations

from harness.api import Domain, Fixed, LogUniform, Source, SubmissionEntry
from submissions.schedules.wsd import HALF_LIFE

_ADAMW, _SGD = "optimizer:adamw", "optimizer:nesterov"
_D2Z = Source(
    title="Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for LLMs",
    arxiv="2502.15938",
    equation="the baselines that decay to 10 %",
)
#: Smaller learning rates, for schedules that end with a large one. With the usual rates, the weights would still have
#: much noise at the end of a run.
_UNDECAYED: dict[str, Domain] = {"lr": LogUniform(3e-4, 1e-2, default=3e-3)}


def _with(
    optimizer: str,
    schedule: str,
    name: str,
    summary: str,
    tags: tuple[str, ...],
    space: dict[str, Domain] | None = None,
    sources: tuple[Source, ...] = (),
) -> SubmissionEntry:
    kind = ("sgd",) if optimizer == _SGD else ()
    return SubmissionEntry(
        name=name,
        summary=f"{'SGD with Nesterov momentum,' if optimizer == _SGD else 'AdamW'} {summary}",
        parts=(optimizer, f"schedule:{schedule}"),
        space=space or {},
        sources=sources,
        tags=("schedule", *tags, *kind),
    )


_TENTH: dict[str, Domain] = {"final": Fixed(0.1, limits=(0.0, 1.0))}
_MINICPM: dict[str, Domain] = {
    "shape": Fixed(HALF_LIFE, values=(HALF_LIFE,)),
    "half_life": LogUniform(0.02, 0.1, default=0.05, limits=(1e-6, None)),
}

SCHEDULE_PRESETS = (
    _with(
        _ADAMW,
        "cosine",
        "cosine-10pct",
        "with warmup and cosine decay to 10 % of the peak",
        ("decay",),
        _TENTH,
        (_D2Z,),
    ),
    _with(
        _ADAMW,
        "linear",
        "linear-10pct",
        "with warmup and linear decay to 10 % of the peak",
        ("decay",),
        _TENTH,
        (_D2Z,),
    ),
    _with(
        _ADAMW,
        "inverse-sqrt",
        "inverse-sqrt",
        "with warmup and a learning rate proportional to 1/√(number of updates); needs no horizon",
        ("anytime",),
        _UNDECAYED,
    ),
    _with(
        _ADAMW,
        "wsd",
        "minicpm",
        "with warmup, a constant learning rate, and an exponential decay at the end, set by its half-life",
        ("decay",),
        _MINICPM,
    ),
    _with(
        _ADAMW,
        "wsd-s",
        "wsd-s",
        "with three cycles in one run; in each cycle, a constant learning rate, then a decay",
        ("decay", "cyclic"),
    ),
    _with(
        _ADAMW,
        "wsdc",
        "wsdc",
        "with warmup, a constant learning rate, a decay and a small constant learning rate at the end",
        ("decay",),
    ),
    _with(
        _ADAMW,
        "cyclic-cosine",
        "cyclic-cosine",
        "with three cycles in one run; a cosine decay of the learning rate in each cycle",
        ("decay", "cyclic"),
    ),
    _with(
        _ADAMW,
        "multiplicative-cyclic",
        "multiplicative-cyclic",
        "with cosine decays of the learning rate in cycles; each cycle is twice as long as the previous one",
        ("decay", "cyclic"),
    ),
    _with(
        _ADAMW,
        "infinite",
        "infinite",
        "with warmup, a cooldown to a constant learning rate, and a decay before the end of each task",
        ("decay", "continual"),
    ),
    _with(
        _ADAMW,
        "rewarm",
        "rewarm",
        "with a new warmup and a new decay of the learning rate for every task",
        ("decay", "continual"),
    ),
    _with(
        _ADAMW,
        "reuse-dont-retrain",
        "reuse-dont-retrain",
        "with cosine decay in the first task; later tasks start at the final learning rate of this decay",
        ("decay", "continual"),
    ),
    _with(_ADAMW, "rex", "rex", "with warmup and the schedule REX (reflected exponential)", ("decay",)),
    _with(_SGD, "rex", "rex-sgd", "with the schedule REX (reflected exponential)", ("decay",)),
    _with(_ADAMW, "uba", "uba", "with warmup and the unified budget-aware schedule", ("decay",)),
    _with(_SGD, "uba", "uba-sgd", "with the unified budget-aware schedule", ("decay",)),
    _with(
        _ADAMW,
        "power",
        "power",
        "with a learning rate proportional to a power of the number of tokens drawn, and a short decay at the end",
        ("decay",),
    ),
    _with(_ADAMW, "clr", "clr", "with triangular cycles of the learning rate", ("cyclic",)),
    _with(_SGD, "clr", "clr-sgd", "with triangular cycles of the learning rate", ("cyclic",)),
    _with(_ADAMW, "one-cycle", "one-cycle", "with one cycle of the learning rate and of beta1", ("decay",)),
    _with(_SGD, "one-cycle", "one-cycle-sgd", "with one cycle of the learning rate and of the momentum", ("decay",)),
    _with(_ADAMW, "step", "step", "with a learning rate that drops at 30 %, 60 % and 90 % of the horizon", ("decay",)),
    _with(
        _SGD, "step", "step-sgd", "with a learning rate that drops at 30 %, 60 % and 90 % of the horizon", ("decay",)
    ),
    _with(_ADAMW, "cosine-power", "cosine-power", "with cosine power annealing of the learning rate", ("decay",)),
    _with(_SGD, "cosine-power", "cosine-power-sgd", "with cosine power annealing of the learning rate", ("decay",)),
    _with(
        _ADAMW,
        "slow-start-fast-decay",
        "slow-start-fast-decay",
        "with a long linear warmup and a fast exponential decay",
        ("decay",),
    ),
    _with(
        _SGD,
        "large-then-decay",
        "large-then-decay",
        "with a large constant learning rate, then a small one",
        ("decay",),
    ),
)
