"""Torch's global numeric settings stay as the workload set them.

Forbidden: changing the float32 matmul precision, TF32 in cuDNN, the default dtype, the number of threads, or leaving
autocast enabled.

Why: precision and threads determine the time of a step, and the workload sets both for all submissions.

Instead: do not change the settings. If a computation needs another precision, cast the tensors of that computation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule


class NumericSettings(Rule):
    """Compares the settings while the clock is stopped."""

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._initial_settings = read_settings()

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        for name, value in read_settings().items():
            if value != self._initial_settings[name]:
                raise RejectedError(
                    f"{name} was changed from {self._initial_settings[name]} to {value}",
                    fix="do not change torch's global settings; cast the tensors of the computation instead",
                )


def read_settings() -> dict[str, Any]:
    """Return the settings by name."""
    return {
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn TF32": torch.backends.cudnn.allow_tf32,
        "default dtype": torch.get_default_dtype(),
        "number of threads": torch.get_num_threads(),
        "autocast": torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
    }
