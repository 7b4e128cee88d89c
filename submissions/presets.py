"""Named compositions of parts, as data; those that try out one schedule each stand in `schedule_presets`."""

from __future__ import annotations

from harness.api import Fixed, LogUniform, SubmissionEntry
from submissions.schedule_presets import SCHEDULE_PRESETS

PRESETS = (
    SubmissionEntry(
        name="adamw-cosine",
        summary="AdamW with warmup and cosine decay to zero: the reference",
        parts=("optimizer:adamw", "schedule:cosine"),
        tags=("reference", "decay", "family"),
    ),
    SubmissionEntry(
        name="wsd",
        summary="AdamW with warmup, a stable phase and a short decay",
        parts=("optimizer:adamw", "schedule:wsd"),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="sgd-nesterov",
        summary="SGD with Nesterov momentum, warmup and cosine decay",
        parts=("optimizer:nesterov", "schedule:cosine"),
        tags=("decay", "sgd", "family"),
    ),
    SubmissionEntry(
        name="d2z",
        summary="AdamW with warmup and linear decay to zero",
        parts=("optimizer:adamw", "schedule:linear"),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="adamw-constant",
        summary="AdamW at a constant rate after a short warmup: the reference without decay",
        parts=("optimizer:adamw", "schedule:constant"),
        # Without decay the noise of a large rate stays in the weights to the end.
        space={"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))},
        tags=("anytime", "family"),
    ),
    SubmissionEntry(
        name="schedule-free-adamw",
        summary="schedule-free AdamW: averaging in place of decay, no horizon",
        parts=("optimizer:schedule-free-adamw",),
        tags=("anytime", "averaging", "family"),
    ),
    SubmissionEntry(
        name="muon-wsd",
        summary="Muon for hidden weights and AdamW for the rest, with warmup, a stable phase and a short decay",
        parts=("optimizer:muon", "schedule:wsd"),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="wsd-ema",
        summary="AdamW with warmup, a stable phase and a short decay, evaluated as a moving average",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:ema"),
        tags=("decay", "averaging"),
    ),
    SubmissionEntry(
        name="quality-ascending",
        summary="AdamW at a constant rate on examples in ascending quality, evaluated as a moving average",
        parts=("optimizer:adamw", "schedule:constant", "averaging:ema", "order:quality-ascending"),
        # A decay would spend the smallest steps on the best examples.
        space={"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))},
        tags=("curriculum", "averaging"),
    ),
    SubmissionEntry(
        name="replay",
        summary="AdamW at a constant rate with experience replay from a reservoir",
        parts=("optimizer:adamw", "schedule:constant", "replay:reservoir"),
        # A network that must not forget takes smaller steps than one that may.
        space={"lr": LogUniform(3e-4, 1e-2, default=1e-3)},
        tags=("continual", "family"),
    ),
    SubmissionEntry(
        name="rewarm-replay",
        summary="AdamW re-warmed and re-decayed for every task, with experience replay",
        parts=("optimizer:adamw", "schedule:rewarm", "replay:reservoir"),
        space={"lr": LogUniform(3e-4, 1e-2, default=2e-3)},
        tags=("continual", "decay", "family"),
    ),
    SubmissionEntry(
        name="sgd-replay",
        summary="SGD with Nesterov momentum at a constant rate, with experience replay",
        parts=("optimizer:nesterov", "schedule:constant", "replay:reservoir"),
        space={"lr": LogUniform(1e-3, 1.0, default=0.03)},
        tags=("continual", "sgd", "family"),
    ),
    SubmissionEntry(
        name="schedule-free-replay",
        summary="schedule-free AdamW with experience replay",
        parts=("optimizer:schedule-free-adamw", "replay:reservoir"),
        space={"lr": LogUniform(3e-4, 3e-2, default=3e-3)},
        tags=("continual", "averaging", "family"),
    ),
    *SCHEDULE_PRESETS,
)
