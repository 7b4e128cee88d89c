"""Converts the error that ended a run to the run's last event."""

from __future__ import annotations

import traceback
from pathlib import Path

from harness.contract.events import Done
from harness.contract.record import Status
from harness.contract.run import RunSpec
from harness.errors import BenchError, RejectedError, StoreError
from harness.worker import torch_errors
from harness.worker.distributed.join import LOST_CONTACT, is_peer_loss


def describe_failure(error: Exception, spec: RunSpec) -> Done:
    """Return the last event of a run that ended with an error. It contains the status and a reason in one line.

    The traceback of an unexpected error is printed to standard error, which is the worker's log.
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
    return Done(status=status, reason=f"{type(error).__name__}: {line}{_describe_location(error)}")


def _describe_location(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _is_write_error(error: BenchError) -> bool:
    """Return whether a file could not be written, such as on a full disk. The trial can later resume."""
    return isinstance(error, StoreError) and isinstance(error.__cause__, OSError)
