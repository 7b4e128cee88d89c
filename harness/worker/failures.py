"""Converts the error that ended a run to the run's last event."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from torch import Tensor, nn

from harness.contract.events import Done
from harness.contract.record import Status
from harness.contract.run import RunSpec
from harness.errors import BenchError, RejectedError, StoreError
from harness.system import sandbox
from harness.worker import torch_errors
from harness.worker.distributed.join import LOST_CONTACT, is_peer_loss

#: The system errors with which a sandbox refuses an operation.
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENETUNREACH})


def describe_nonfinite(model: nn.Module, loss: Tensor | None, error: BaseException) -> str:
    """Return which value of a run is not finite, as a clause; an empty string if all values are finite.

    Args:
        model: the model, whose weights and gradients are checked.
        loss: the loss of the last pass; None before the first pass.
        error: the error that ended the run. If a device failed or memory ran out, no values are read.
    """
    if torch_errors.is_device_failure(error) or torch_errors.is_out_of_memory(error):
        return ""
    if loss is not None and not _is_finite(loss):
        return f"the training loss is {float(loss.mean())}"
    for name, weight in model.named_parameters():
        if not _is_finite(weight.detach()):
            return f"the weight {name} is not finite"
        if weight.grad is not None and not _is_finite(weight.grad):
            return f"the gradient of {name} is not finite"
    return ""


def _is_finite(tensor: Tensor) -> bool:
    values = tensor.coalesce().values() if tensor.is_sparse else tensor
    return bool(values.isfinite().all())


def describe_failure(error: Exception, spec: RunSpec, nonfinite: str = "") -> Done:
    """Return the last event of a run that ended with an error, with the status and a one-line reason.

    A run diverged if one of its values is not finite, or if a matrix decomposition failed. (If a matrix overflows, its
    decomposition can fail while the loss and the weights are still finite.)

    The traceback of an unexpected error is printed to standard error, which is the worker's log.

    Args:
        error: the error.
        spec: the specification of the trial.
        nonfinite: the return value of `describe_nonfinite`.
    """
    status: Status = "crashed"
    if isinstance(error, RejectedError):
        return Done(status="rejected", reason=str(error))
    if isinstance(error, MemoryError):
        return Done(status="out-of-memory", reason=str(error) or "the memory of this machine is exhausted")
    if isinstance(error, BenchError):
        return Done(status="interrupted" if _is_write_error(error) else status, reason=str(error))
    traceback.print_exception(error)
    line = torch_errors.first_line(error)
    if torch_errors.is_out_of_memory(error):
        return Done(status="out-of-memory", reason=line)
    if torch_errors.is_device_failure(error):
        return Done(status=status, reason=f"the device failed: {line}")
    if spec.ranks > 1 and is_peer_loss(error):
        return Done(status=status, reason=f"{LOST_CONTACT}: {line}")
    reason = f"{type(error).__name__}: {line}{_describe_location(error)}"
    if nonfinite:
        return Done(status="diverged", reason=f"{nonfinite}; {reason}")
    if torch_errors.is_decomposition_failure(error):
        return Done(status="diverged", reason=f"a matrix decomposition failed; {reason}")
    if sandbox.is_confined() and isinstance(error, OSError) and error.errno in _FORBIDDEN:
        limits = "no files outside of HOME and TMPDIR, and no network"
        reason += f"; the sandbox permits {limits} ({sandbox.VARIABLE}=none turns it off)"
    return Done(status=status, reason=reason)


def _describe_location(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _is_write_error(error: BenchError) -> bool:
    """Return whether the error is a failed write, for example on a full disk, so that the trial can be resumed."""
    return isinstance(error, StoreError) and isinstance(error.__cause__, OSError)
