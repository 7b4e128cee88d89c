"""The device of a rank, and how to wait for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.contract.run import RunSpec


def rank_device(rank: int, spec: RunSpec) -> torch.device:
    """The device of a rank: with several ranks one GPU each, in order, beginning with the one that the trial names."""
    device = torch.device(spec.device)
    if spec.ranks == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", (device.index or 0) + rank)


def set_default_device(device: torch.device) -> None:
    """Make a GPU the current one: tensors created on `cuda` and reads of the RNG state then use this GPU."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def synchronizer(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done all queued work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
