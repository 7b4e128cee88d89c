"""Randomness that differs between ranks: a rank's own states of torch's generators, in use during its passes only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RankRng:
    """The states of torch's generators (of the CPU and of the rank's GPU) for the passes of one rank.

    Inside `active`, dropout and the like differ between ranks. Outside, the generators are equal on all ranks, and so
    is whatever else is random in a step (augmentation, noise, an order).

    Args:
        device: of the rank.
        name: decides the states at the beginning.

    Attributes:
        state: the current states, one per generator.
    """

    def __init__(self, device: torch.device, name: str) -> None:
        self._device = device
        self.state = initial_rng_state(device, name)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, torch's generators are in this rank's states."""
        shared_state = get_generator_states(self._device)
        set_generator_states(self._device, self.state)
        try:
            yield
        finally:
            self.state = get_generator_states(self._device)
            set_generator_states(self._device, shared_state)

    @contextmanager
    def rewound(self, state: list[Tensor]) -> Iterator[None]:
        """Inside, the rank's states go on from an earlier `state`; afterwards they are what they were before."""
        present, self.state = self.state, state
        try:
            yield
        finally:
            self.state = present


def initial_rng_state(device: torch.device, name: str) -> list[Tensor]:
    """The states of the generators after seeding them from a hash of `name`; the generators stay as they are."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1)
        return get_generator_states(device)


def get_generator_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_generator_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
