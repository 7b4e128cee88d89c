"""Experience replay: every update trains on fresh examples and as many from memory.

Source: On Tiny Episodic Memories in Continual Learning, arXiv 1902.10486 (reservoir variant).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import Fixed, PartEntry, Source

if TYPE_CHECKING:
    from harness.api import Batch, ReplayBuffer, Task

ENTRY = PartEntry(
    kind="replay",
    name="reservoir",
    load=f"{__name__}:Reservoir",
    summary="replays `replay_ratio` old examples for every fresh one, from the harness's reservoir",
    space={"replay_ratio": Fixed(1.0, limits=(0.0, 16.0))},
    needs=frozenset({"replay"}),
    sources=(Source(title="On Tiny Episodic Memories in Continual Learning", arxiv="1902.10486"),),
)


class Reservoir:
    """Implements `harness.api.Replayer`."""

    def __init__(self, task: Task, replay_ratio: float) -> None:
        self._ratio = replay_ratio

    def mix(self, fresh: Batch, replay: ReplayBuffer) -> Batch:
        """Fresh examples and replayed ones as one batch; the fresh ones are offered to the buffer afterwards."""
        from harness.api import Batch

        wanted = round(fresh.n * self._ratio)
        mixed = Batch.cat([fresh, replay.sample(wanted)]) if wanted and len(replay) else fresh
        replay.add(fresh)
        return mixed
