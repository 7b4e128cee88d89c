"""The submissions and parts of this repository, through the same hooks as anybody else's."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import PartEntry, SubmissionEntry, hookimpl
from submissions import ema, presets, quality_ascending, reservoir
from submissions.optimizers import adamw, muon, nesterov, schedule_free_adamw
from submissions.schedules import (
    clr,
    constant,
    cosine,
    cosine_power,
    cyclic_cosine,
    infinite,
    inverse_sqrt,
    large_then_decay,
    linear,
    multiplicative_cyclic,
    one_cycle,
    power,
    reuse_dont_retrain,
    rewarm,
    rex,
    slow_start_fast_decay,
    step,
    uba,
    wsd,
    wsd_s,
    wsdc,
)

_OPTIMIZERS = (adamw, nesterov, muon, schedule_free_adamw)
_SCHEDULES = (
    constant,
    inverse_sqrt,
    cosine,
    linear,
    wsd,
    wsd_s,
    wsdc,
    cyclic_cosine,
    infinite,
    rewarm,
    reuse_dont_retrain,
    rex,
    uba,
    power,
    clr,
    one_cycle,
    step,
    cosine_power,
    multiplicative_cyclic,
    slow_start_fast_decay,
    large_then_decay,
)
_OTHERS = (ema, quality_ascending, reservoir)


@hookimpl
def bench_parts() -> Iterable[PartEntry]:
    """One entry per part, each declared beside its code."""
    return [module.ENTRY for module in (*_OPTIMIZERS, *_SCHEDULES, *_OTHERS)]


@hookimpl
def bench_submissions() -> Iterable[SubmissionEntry]:
    """The presets."""
    return presets.PRESETS
