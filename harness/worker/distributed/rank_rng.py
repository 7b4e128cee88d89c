"""Gives each rank its own RNG state, which torch's generators have only while a forward pass is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RankRng:
    """The RNG state of one rank: the states of torch's generators for the CPU and for the rank's GPU.

    Within the context `active`, random numbers such as dropout masks differ between ranks. Outside of the context, the
    generators have the same states on all ranks, so that all other random numbers in a step (for augmentation, noise or
    an order) are equal on all ranks.

    Args:
        device: the rank's device.
        name: text from which the initial state is derived. Different names give different states.

    Attributes:
        state: the current RNG state, one tensor per generator.
    """

    def __init__(self, device: torch.device, name: str) -> None:
        self._device = device
        self.state = initial_rng_state(device, name)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within this context, torch's generators have this rank's state."""
        shared_state = get_rng_state(self._device)
        set_rng_state(self._device, self.state)
        try:
            yield
        finally:
            self.state = get_rng_state(self._device)
            set_rng_state(self._device, shared_state)

    @contextmanager
    def replay_from(self, state: list[Tensor]) -> Iterator[None]:
        """Within this context, this rank's RNG state is `state`, an earlier value of the attribute `state`.

        A forward pass that is computed again in this context draws the same random numbers as the first time. At the
        end of the context, the current RNG state is restored.
        """
        current_state, self.state = self.state, state
        try:
            yield
        finally:
            self.state = current_state


def initial_rng_state(device: torch.device, name: str) -> list[Tensor]:
    """Return the state of generators seeded with a hash of `name`. Torch's own generators are not changed."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1)
        return get_rng_state(device)


def get_rng_state(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators for the CPU and, if `device` is a GPU, for the GPU."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_rng_state(device: torch.device, state: list[Tensor]) -> None:
    """Restore a state that `get_rng_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
