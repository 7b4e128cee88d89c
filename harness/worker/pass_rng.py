"""Seeds torch's generators before every forward pass. Runs with equal seeds then draw the same dropout masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch

#: Identifies a forward pass in a run: the index of the current update, and the index of the pass within this update.
PassId: TypeAlias = tuple[int, int]

#: A model that drew no random numbers is checked again at every update whose index is a multiple of this number.
RECHECK_STEPS = 100


class PassRng:
    """Seeds torch's generators for each forward pass.

    In the context `seeded`, torch's generators for the CPU and for the rank's GPU are seeded. The seed is a hash of the
    data seed, the rank, and the indices of the update, the pass and the micro-batch. When the context ends, the
    generators get back their previous states. Dropout masks and the submission's own random numbers therefore do not
    affect each other. Seeding does not make the CPU wait for a GPU.

    Seeding takes time, so passes are not seeded if the model draws no random numbers. If a training loss drew no random
    numbers, `active` is False until the next update whose index is a multiple of `RECHECK_STEPS`. A run on several
    ranks is always seeded: each rank computes its own examples and needs its own masks.

    Args:
        device: the rank's device. If it is a GPU, it must be torch's current GPU.
        seed: the seed of the run's data.
        rank: index of the rank, from 0.
        always: whether passes are seeded even if the model draws no random numbers.

    Attributes:
        active: whether the next passes are seeded. Checkpoints contain this value.
    """

    def __init__(self, device: torch.device, seed: int, rank: int = 0, *, always: bool = False) -> None:
        self._generators = generators_of(device)
        self._seed = seed
        self._rank = rank
        self._always = always
        self._step = 0
        self._passes = 0
        self.active = True

    def begin_step(self, step: int) -> None:
        """Begin the update with index `step`, from 0."""
        self._step = step
        self._passes = 0
        if step % RECHECK_STEPS == 0:
            self.active = True

    def next_pass(self) -> PassId | None:
        """Return the identifier of the next pass; None if the pass is not seeded."""
        if not self.active:
            return None
        index = self._passes
        self._passes += 1
        return self._step, index

    @contextmanager
    def seeded(self, pass_id: PassId, part: int = 0, *, is_training: bool = False) -> Iterator[None]:
        """Seed the generators for one micro-batch of a pass, and restore their states when the context ends.

        If the same micro-batch is computed again, for example by checkpointing in the backward pass, it draws the same
        random numbers.

        Args:
            pass_id: identifier of the pass.
            part: index of the micro-batch in the pass.
            is_training: whether the pass computes a training loss. If such a pass draws no random numbers, the model is
                assumed to draw none in training.
        """
        saved_states = [generator.get_state() for generator in self._generators]
        seed = derive_seed(self._seed, *pass_id, part, self._rank)
        for generator in self._generators:
            generator.manual_seed(seed)
        may_deactivate = is_training and not self._always
        seeded_states = [generator.get_state() for generator in self._generators] if may_deactivate else []
        try:
            yield
            if may_deactivate and all(
                torch.equal(generator.get_state(), state)
                for generator, state in zip(self._generators, seeded_states, strict=True)
            ):
                self.active = False
        finally:
            for generator, state in zip(self._generators, saved_states, strict=True):
                generator.set_state(state)


def derive_seed(*numbers: int) -> int:
    """Return a 63-bit seed, which is a hash of the numbers.

    >>> derive_seed(1, 23) != derive_seed(12, 3)
    True
    """
    text = "forward pass/" + "/".join(map(str, numbers))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generators_of(device: torch.device) -> list[torch.Generator]:
    """Return torch's global generators for the CPU and, if `device` is a GPU, for the current GPU."""
    if device.type != "cuda":
        return [torch.default_generator]
    torch.cuda.init()  # type: ignore[no-untyped-call]
    return [torch.default_generator, torch.cuda.default_generators[torch.cuda.current_device()]]
