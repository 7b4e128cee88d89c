"""The submissions and parts of this repository, through the same hooks as anybody else's."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import PartEntry, SubmissionEntry, hookimpl
from submissions import presets, reservoir
from submissions.optimizers import adamw, nesterov
from submissions.schedules import constant, cosine, wsd


@hookimpl
def bench_parts() -> Iterable[PartEntry]:
    """One entry per part, each declared beside its code."""
    return [module.ENTRY for module in (adamw, nesterov, constant, cosine, wsd, reservoir)]


@hookimpl
def bench_submissions() -> Iterable[SubmissionEntry]:
    """The presets."""
    return presets.PRESETS
