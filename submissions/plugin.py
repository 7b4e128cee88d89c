"""The parts and submissions of this repository. Third-party plugins use the same hooks."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from harness.api import PartEntry, SubmissionEntry, hookimpl
from submissions import optimizer_presets, presets, quality_ascending, reservoir, sam
from submissions.averaging import cma, ema, lawa, polynomial, swa, wsm
from submissions.optimizers import (
    adabound,
    adafactor,
    adamod,
    adamw,
    ademamix,
    dog,
    fadam,
    galore,
    heavy_ball,
    lamb,
    ldog,
    lion,
    muon,
    nadamw,
    nesterov,
    prodigy,
    radam,
    schedule_free_adamw,
    schedule_free_radam,
    schedule_free_sgd,
    sgdw,
    shampoo,
    soap,
)
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
from submissions.schedules import swa as swa_lr

_OPTIMIZERS = (
    *(adamw, sgdw, nesterov, heavy_ball, nadamw, radam, adabound, adamod, fadam, adafactor, lamb, lion, ademamix),
    *(muon, soap, shampoo, galore, dog, ldog, prodigy),
    *(schedule_free_adamw, schedule_free_sgd, schedule_free_radam),
)
_AVERAGING = (ema, swa, lawa, cma, wsm, polynomial)
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
    swa_lr,
)
#: Schedule -> the optimizer's hyperparameters that the schedule sets at every update.
_TAKEN_OVER = {"schedule:one-cycle": frozenset({"beta1", "momentum"})}
_OTHERS = (quality_ascending, reservoir, sam)


@hookimpl
def bench_parts() -> Iterable[PartEntry]:
    """Return the entries of all parts. A part's entry is in the part's module.

    `takes_over` is added here, because a change of a part's module would change the IDs of its published runs.
    """
    entries = [module.ENTRY for module in (*_OPTIMIZERS, *_AVERAGING, *_SCHEDULES, *_OTHERS)]
    return [replace(entry, takes_over=_TAKEN_OVER.get(entry.id, frozenset())) for entry in entries]


@hookimpl
def bench_submissions() -> Iterable[SubmissionEntry]:
    """Return the entries of all submissions in this repository."""
    return (*presets.PRESETS, *optimizer_presets.PRESETS)
