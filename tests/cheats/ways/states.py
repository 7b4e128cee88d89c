"""State beyond its cap, on a stream."""

from __future__ import annotations

from typing import Any

import torch

from harness.api import Batch, Work
from tests.cheats.ways.honest import Honest


class GrowsBuffer(Honest):
    """Sets the capacity of the replay buffer."""

    def update(self, work: Any) -> None:
        work.replay.capacity = 10_000
        batch = work.draw()
        work.replay.add(batch)
        work.backward(Batch.cat([batch, work.replay.sample(16)]))


class ReplacesStore(Honest):
    """Puts a larger store into the replay buffer."""

    def update(self, work: Any) -> None:
        batch = work.draw()
        work.replay.add(batch)
        store = work.replay._store
        work.replay._store = {k: torch.cat([t, t]) for k, t in store.items()} if self.calls < 4 else store
        work.backward(batch)


class ReplacesBuffer(Honest):
    """Replaces the replay buffer by one of its own."""

    def update(self, work: Any) -> None:
        if self.calls == 2:
            work.replay = type(work.replay)(10_000, 0)
        batch = work.draw()
        work.replay.add(batch)
        work.backward(Batch.cat([batch, work.replay.sample(16)]))


class DrawsByIndex(Honest):
    """Chooses examples of a stream."""

    def update(self, work: Work) -> None:
        work.backward(work.draw(indices=torch.arange(16)))


class KeepsExamples(Honest):
    """Keeps all examples of the stream in memory of its own, and trains on them in later stages."""

    def update(self, work: Work) -> None:
        memory: list[Batch] = self.__dict__.setdefault("memory", [])
        batch = work.draw()
        memory.append(batch)
        work.backward(Batch.cat([batch, memory[int(torch.randint(len(memory), ()))]]))
