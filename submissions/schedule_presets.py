"""A named submission for every schedule: on AdamW, and on SGD with momentum where its paper had that.

Nothing but the schedule differs from `adamw-cosine` and `sgd-nesterov`, so that what is compared is the schedule.
"""

from __future__ import annotations

from harness.api import Choice, Domain, Fixed, LogUniform, Source, SubmissionEntry
from submissions.schedules.shapes import SHAPES

_ADAMW, _SGD = "optimizer:adamw", "optimizer:nesterov"
_D2Z = Source(
    title="Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for LLMs",
    arxiv="2502.15938",
    equation="the baselines that decay to 10 %",
)
#: A rate that stays large to the end leaves its noise in the weights.
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
        summary=f"{'SGD with Nesterov momentum' if optimizer == _SGD else 'AdamW'} {summary}",
        parts=(optimizer, f"schedule:{schedule}"),
        space=space or {},
        sources=sources,
        tags=("schedule", *tags, *kind),
    )


_TENTH: dict[str, Domain] = {"final": Fixed(0.1, limits=(0.0, 1.0))}
_MINICPM: dict[str, Domain] = {"shape": Choice((*SHAPES, "half-life"), default="half-life")}

SCHEDULE_PRESETS = (
    _with(_ADAMW, "cosine", "cosine-10pct", "with warmup and cosine decay to 10 %", ("decay",), _TENTH, (_D2Z,)),
    _with(_ADAMW, "linear", "linear-10pct", "with warmup and linear decay to 10 %", ("decay",), _TENTH, (_D2Z,)),
    _with(
        _ADAMW,
        "inverse-sqrt",
        "inverse-sqrt",
        "with warmup and the inverse square root of the updates: no horizon",
        ("anytime",),
        _UNDECAYED,
    ),
    _with(_ADAMW, "wsd", "minicpm", "with warmup, a stable phase and decay by half-lives", ("decay",), _MINICPM),
    _with(_ADAMW, "wsd-s", "wsd-s", "decayed before the end of each of three budgets", ("decay", "cyclic")),
    _with(_ADAMW, "wsdc", "wsdc", "with warmup, a stable phase, a decay and a constant tail", ("decay",)),
    _with(_ADAMW, "cyclic-cosine", "cyclic-cosine", "with a cosine to the end of each budget", ("decay", "cyclic")),
    _with(
        _ADAMW,
        "multiplicative-cyclic",
        "multiplicative-cyclic",
        "with cosines of doubling length: a trade-off curve in one run",
        ("decay", "cyclic"),
    ),
    _with(
        _ADAMW,
        "infinite",
        "infinite",
        "cooled down to a constant rate, annealed before the end of a task",
        ("decay", "continual"),
    ),
    _with(_ADAMW, "rewarm", "rewarm", "re-warmed and re-decayed for every task", ("decay", "continual")),
    _with(
        _ADAMW,
        "reuse-dont-retrain",
        "reuse-dont-retrain",
        "with cosine decay, going on from its end in later tasks",
        ("decay", "continual"),
    ),
    _with(_ADAMW, "rex", "rex", "with warmup and the reflected exponential", ("decay",)),
    _with(_SGD, "rex", "rex-sgd", "with the reflected exponential", ("decay",)),
    _with(_ADAMW, "uba", "uba", "with warmup and the unified budget-aware schedule", ("decay",)),
    _with(_SGD, "uba", "uba-sgd", "with the unified budget-aware schedule", ("decay",)),
    _with(_ADAMW, "power", "power", "with a power law of the tokens seen and a short decay", ("decay",)),
    _with(_ADAMW, "clr", "clr", "with triangular cycles", ("cyclic",)),
    _with(_SGD, "clr", "clr-sgd", "with triangular cycles", ("cyclic",)),
    _with(_ADAMW, "one-cycle", "one-cycle", "with one cycle of rate and beta1", ("decay",)),
    _with(_SGD, "one-cycle", "one-cycle-sgd", "with one cycle of rate and momentum", ("decay",)),
    _with(_ADAMW, "step", "step", "with steps down at 30 %, 60 % and 90 %", ("decay",)),
    _with(_SGD, "step", "step-sgd", "with steps down at 30 %, 60 % and 90 %", ("decay",)),
    _with(_ADAMW, "cosine-power", "cosine-power", "with cosine power annealing", ("decay",)),
    _with(_SGD, "cosine-power", "cosine-power-sgd", "with cosine power annealing", ("decay",)),
    _with(
        _ADAMW,
        "slow-start-fast-decay",
        "slow-start-fast-decay",
        "with a long rise and a quick decay",
        ("decay",),
    ),
    _with(_SGD, "large-then-decay", "large-then-decay", "with large steps, then small ones", ("decay",)),
)
