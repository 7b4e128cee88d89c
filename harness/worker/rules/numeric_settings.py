"""Torch's global numeric settings stay as the harness set them.

Forbidden: changing torch's global settings, and leaving autocast enabled. The global settings are the precision of
float32 matrix products and convolutions, TF32, the use of oneDNN, the default dtype, the default device and the number
of threads. At every evaluation, they are compared with their values before the submission's import. The settings that
affect passes most are also compared within passes.

Why: precision and threads determine the time of a step, and both must be the same for all submissions.

Instead: do not change the settings. If a computation of the submission needs another precision, cast its tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule


class NumericSettings(Rule):
    """Compares the settings while the clock is stopped and within passes."""

    def __init__(self, spec: RunSpec) -> None:
        # The rules are constructed before the submission is imported.
        super().__init__(spec)
        self._initial_settings = read_settings()
        self._initial_pass_settings = read_pass_settings()
        self._forbids_autocast = spec.workload.facts.precision.dtype == "float32"

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        self._compare("")

    def on_pass(self) -> None:
        if read_pass_settings() != self._initial_pass_settings:
            self._compare(" within a pass")
        if self._forbids_autocast and torch.is_autocast_enabled("cpu"):
            raise RejectedError(
                "autocast was enabled within a pass",
                fix="leave the precision of passes to the workload; cast the tensors of other computations instead",
            )

    def _compare(self, when: str) -> None:
        for name, value in read_settings().items():
            initial = self._initial_settings[name]
            if value != initial:
                raise RejectedError(
                    f"{name} was changed from {initial} to {value}{when}",
                    fix="do not change torch's global settings; cast the tensors of the computation instead",
                )


def read_pass_settings() -> tuple[Any, ...]:
    """Return the values of the settings that are compared in every pass. This takes about a microsecond."""
    return (
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.mkldnn.enabled,
    )


def read_settings() -> dict[str, Any]:
    """Return the values of all settings by name."""
    settings = {
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn TF32": torch.backends.cudnn.allow_tf32,
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "number of threads": torch.get_num_threads(),
        "autocast": torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
        "oneDNN": torch.backends.mkldnn.enabled,
    }
    for backend in ("mkldnn", "cuda", "cudnn"):
        for operation in ("matmul", "conv", "rnn"):
            owner = getattr(getattr(torch.backends, backend, None), operation, None)
            precision = getattr(owner, "fp32_precision", None)
            if precision is not None:
                settings[f"{backend} {operation} precision"] = precision
    return settings
