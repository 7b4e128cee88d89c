"""The device of a rank, and a function that waits for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.contract.run import RunSpec


def rank_device(rank: int, spec: RunSpec) -> torch.device:
    """Return the device of a rank. Several ranks use consecutive GPUs, beginning with the trial's device."""
    device = torch.device(spec.device)
    if spec.ranks == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + rank)


def set_default_device(device: torch.device) -> None:
    """If the device is a GPU, make it torch's current GPU, for tensors on `cuda` and for the RNG state."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until the device has finished all queued work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
