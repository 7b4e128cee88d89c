"""Submissions that are composed of parts, as data. `schedule_presets` has a submission for each schedule."""

from __future__ import annotations

from harness.api import Fixed, LogUniform, SubmissionEntry
from submissions.schedule_presets import SCHEDULE_PRESETS

PRESETS = (
    SubmissionEntry(
        name="adamw-cosine",
        summary="AdamW with warmup and cosine decay to zero; the reference submission",
        parts=("optimizer:adamw", "schedule:cosine"),
        tags=("reference", "decay", "family"),
    ),
    SubmissionEntry(
        name="wsd",
        summary="AdamW; warmup, constant learning rate, short decay at the end",
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
        summary="AdamW with a short warmup and then a constant learning rate",
        parts=("optimizer:adamw", "schedule:constant"),
        # Without a decay, the learning rate must be smaller: a large rate causes noise in the weights, which only a
        # decay removes.
        space={"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))},
        tags=("anytime", "family"),
    ),
    SubmissionEntry(
        name="schedule-free-adamw",
        summary="schedule-free AdamW, which averages weights instead of decaying the learning rate; needs no horizon",
        parts=("optimizer:schedule-free-adamw",),
        tags=("anytime", "averaging", "family"),
    ),
    SubmissionEntry(
        name="muon-wsd",
        summary="Muon for hidden weights, AdamW for all others; warmup, constant learning rate, short decay at the end",
        parts=("optimizer:muon", "schedule:wsd"),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="wsd-ema",
        summary="AdamW; warmup, constant learning rate, short decay; evaluates a moving average of the weights",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:ema"),
        tags=("decay", "averaging"),
    ),
    SubmissionEntry(
        name="quality-ascending",
        summary="AdamW, constant learning rate, examples in ascending quality; evaluates an average of the weights",
        parts=("optimizer:adamw", "schedule:constant", "averaging:ema", "order:quality-ascending"),
        # The best examples come last. With a decay, the steps on these examples would be the smallest.
        space={"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))},
        tags=("curriculum", "averaging"),
    ),
    SubmissionEntry(
        name="replay",
        summary="AdamW with a constant learning rate and experience replay from a reservoir",
        parts=("optimizer:adamw", "schedule:constant", "replay:reservoir"),
        # The default is smaller than in `adamw-constant`, because the network must not forget earlier tasks.
        space={"lr": LogUniform(3e-4, 1e-2, default=1e-3)},
        tags=("continual", "family"),
    ),
    SubmissionEntry(
        name="rewarm-replay",
        summary="AdamW with a new warmup and a new decay of the learning rate for every task; experience replay",
        parts=("optimizer:adamw", "schedule:rewarm", "replay:reservoir"),
        space={"lr": LogUniform(3e-4, 1e-2, default=2e-3)},
        tags=("continual", "decay", "family"),
    ),
    SubmissionEntry(
        name="sgd-replay",
        summary="SGD with Nesterov momentum, a constant learning rate and experience replay",
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
