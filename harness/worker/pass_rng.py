"""Seeds torch's generators for every forward pass from counters, so that paired runs draw the same dropout masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch

#: A pass of the run: the number of updates before it, and its index among the passes since that update began.
PassId: TypeAlias = tuple[int, int]

#: Number of updates after which a model whose passes drew no random numbers is examined again.
RECHECK_STEPS = 100


class PassRng:
    """Gives each forward pass random numbers that depend on counters only.

    Within `seeded`, torch's generators for the CPU and for the rank's GPU start from a hash of the data seed, the
    update, the index of the pass in the update, the part of the batch and the rank. Afterwards they have the state from
    before. So the masks of a run do not depend on the random numbers that the submission draws, and the submission's
    random numbers do not depend on the model's. GPUs are not synchronised.

    Seeding takes time, so passes of a model that draws no random numbers are not seeded: after a training loss that
    drew none, `active` is False until the next update that is a multiple of `RECHECK_STEPS`. Several ranks compute
    different examples and need different masks, so their passes are always seeded.

    Args:
        device: the rank's device. A GPU is the current one.
        seed: the seed of the run's data.
        rank: the rank, from 0.
        always: whether passes are seeded even if they draw no random numbers.

    Attributes:
        active: whether new passes are seeded. A checkpoint contains it.
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
        """Begin an update, of which `step` came before."""
        self._step = step
        self._passes = 0
        if step % RECHECK_STEPS == 0:
            self.active = True

    def next_pass(self) -> PassId | None:
        """Return the identity of a new pass; None if it is not seeded."""
        if not self.active:
            return None
        index = self._passes
        self._passes += 1
        return self._step, index

    @contextmanager
    def seeded(self, pass_id: PassId, part: int = 0, *, conclusive: bool = False) -> Iterator[None]:
        """Within this context, the generators are seeded for a part of a pass.

        A pass that is computed again, in the backward pass or with smaller parts, gets the same numbers.

        Args:
            pass_id: the pass.
            part: index of the micro-batch in the pass.
            conclusive: whether the model draws no random numbers in training if it draws none here.
        """
        saved_states = [generator.get_state() for generator in self._generators]
        seed = derive_seed(self._seed, *pass_id, part, self._rank)
        for generator in self._generators:
            generator.manual_seed(seed)
        may_deactivate = conclusive and not self._always
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
    """Return a seed of 63 bits from a hash of the numbers.

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
