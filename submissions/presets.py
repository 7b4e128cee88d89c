"""Named compositions of parts, as data."""

from __future__ import annotations

from harness.api import LogUniform, SubmissionEntry

PRESETS = (
    SubmissionEntry(
        name="adamw-cosine",
        summary="AdamW with warmup and cosine decay to zero: the reference",
        parts=("optimizer:adamw", "schedule:cosine"),
        tags=("reference", "decay"),
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
        tags=("decay", "sgd"),
    ),
    SubmissionEntry(
        name="replay",
        summary="AdamW at a constant rate with experience replay from a reservoir",
        parts=("optimizer:adamw", "schedule:constant", "replay:reservoir"),
        # A network that must not forget takes smaller steps than one that may.
        space={"lr": LogUniform(3e-4, 1e-2, default=1e-3)},
        tags=("continual",),
    ),
)
