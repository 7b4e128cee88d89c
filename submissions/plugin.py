"""The submissions and parts of this repository, through the same hooks as anybody else's."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import PartEntry, SubmissionEntry, hookimpl
from submissions import ema, presets, quality_ascending, reservoir
from submissions.optimizers import adamw, muon, nesterov, schedule_free_adamw
from submissions.schedules import constant, cosine, linear, rewarm, wsd

_OPTIMIZERS = (adamw, nesterov, muon, schedule_free_adamw)
_SCHEDULES = (constant, cosine, linear, wsd, rewarm)
_OTHERS = (ema, quality_ascending, reservoir)


@hookimpl
def bench_parts() -> Iterable[PartEntry]:
    """One entry per part, each declared beside its code."""
    return [module.ENTRY for module in (*_OPTIMIZERS, *_SCHEDULES, *_OTHERS)]


@hookimpl
def bench_submissions() -> Iterable[SubmissionEntry]:
    """The presets."""
    return presets.PRESETS
