"""Torch's global numeric settings stay as the harness set them.

Forbidden: changing torch's global settings, and leaving autocast enabled. The global settings are the precision of
float32 matrix products, convolutions and recurrent layers, TF32, the use of oneDNN, the default dtype, the default
device, the number of threads, and whether denormal numbers become zero. They are compared with their values before the
submission's import: at every evaluation, after every pass that the harness computes, and in the middle of passes, at
one module of the model. This module changes at every evaluation. If the loss is compiled, only the forward passes of
`work.outputs` are checked in the middle. A forward pass that the submission makes by calling the model itself is not
checked. In the middle of a backward pass, the default device is not compared. The precision of other devices than the
run's is compared only at evaluations. Denormal numbers are compared only in runs on a CPU, and not if the loss is
compiled. Within a pass, autocast may be enabled only for the run's device, and with the lower precision that the
workload uses.

Why: precision and threads determine the time of a step, and both must be the same for all submissions.

Instead: do not change the settings. If a computation of the submission needs another precision, cast its tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.forward import AUTOCAST_DTYPES
from harness.worker.rule import Rule

#: Name of a setting → the backend and the operation whose precision of float32 numbers it is. Backend `cuda` includes
#: cuDNN.
_PRECISIONS = {
    f"{backend} {operation} precision": (backend, operation)
    for backend in ("mkldnn", "cuda")
    for operation in ("matmul", "conv", "rnn")
}
# The functions are bound before the submission is imported. Torch's public properties call the same functions, but take
# ten times as long.
_read_precision = torch._C._get_fp32_precision_getter
_read_onednn = torch._C._get_mkldnn_enabled
_read_autocast = torch._C._is_any_autocast_enabled
#: A default device is a function mode. To read the device takes a hundred times as long as to count the modes.
_count_function_modes = torch._C._len_torch_function_stack
#: A denormal number of 64 bits. `torch.set_flush_denormal` sets a register of the thread, which also applies to Python.
_DENORMAL = 1e-310


class NumericSettings(Rule):
    """Compares the settings while the clock is stopped and within passes."""

    def __init__(self, spec: RunSpec) -> None:
        # The rules are constructed before the submission is imported.
        super().__init__(spec)
        self._initial_settings = read_settings()
        self._device_type = torch.device(spec.device).type
        self._backend = "cuda" if self._device_type == "cuda" else "mkldnn"
        self._initial_pass_settings = read_pass_settings(self._backend)
        # Libraries that compilers make may set the register when they are loaded.
        is_compared = self._device_type == "cpu" and not spec.workload.facts.precision.compile
        self._initially_flushes = flushes_denormals() if is_compared else None
        self._autocast_dtype = AUTOCAST_DTYPES.get(spec.workload.facts.precision.dtype)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        self._compare("")
        self._compare_denormals("")

    def on_pass(self) -> None:
        if read_pass_settings(self._backend) != self._initial_pass_settings:
            self._compare(" within a pass")
        self._compare_denormals(" within a pass")
        if _read_autocast() and not self._is_autocast_of_workload():
            raise RejectedError(
                "autocast was enabled within a pass",
                fix="leave the precision of passes to the workload; cast the tensors of other computations instead",
            )

    def _is_autocast_of_workload(self) -> bool:
        """Return whether autocast is enabled only for the run's device, with the dtype of the workload."""
        other = "cpu" if self._device_type != "cpu" else "cuda"
        return torch.get_autocast_dtype(self._device_type) == self._autocast_dtype and not torch.is_autocast_enabled(
            other
        )

    def _compare_denormals(self, when: str) -> None:
        if self._initially_flushes is not None and flushes_denormals() != self._initially_flushes:
            raise RejectedError(
                f"the treatment of denormal numbers was changed{when}",
                fix="do not call torch.set_flush_denormal, or load a library that was built with -ffast-math",
            )

    def _compare(self, when: str) -> None:
        for name, value in read_settings().items():
            initial = self._initial_settings[name]
            if value != initial and not (when and name == "autocast"):
                raise RejectedError(
                    f"{name} was changed from {initial} to {value}{when}",
                    fix="do not change torch's global settings; cast the tensors of the computation instead",
                )


def flushes_denormals() -> bool:
    """Return whether this thread treats denormal numbers as zero. This takes less than a microsecond."""
    return _DENORMAL * 1.0 == 0.0


def read_pass_settings(backend: str) -> tuple[Any, ...]:
    """Return the values of the settings that are compared in every pass. This takes about two microseconds.

    Args:
        backend: the backend of the run's device, whose precisions are read.
    """
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        _read_onednn(),
        _count_function_modes(),
        _read_precision(backend, "matmul"),
        _read_precision(backend, "conv"),
        _read_precision(backend, "rnn"),
    )


def read_settings() -> dict[str, Any]:
    """Return the values of all settings by name."""
    return {
        "float32 matmul precision": _read_or_describe(torch.get_float32_matmul_precision),
        "cudnn TF32": _read_or_describe(lambda: torch.backends.cudnn.allow_tf32),
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "number of threads": torch.get_num_threads(),
        "autocast": torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"),
        "oneDNN": _read_onednn(),
        **{name: _read_precision(*key) for name, key in _PRECISIONS.items()},
    }


def _read_or_describe(read: Callable[[], Any]) -> Any:
    """Return a setting. If settings of several operations contradict each other, torch raises; return `mixed` then."""
    try:
        return read()
    except RuntimeError:
        return "mixed"
