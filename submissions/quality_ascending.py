"""Examples in ascending order of quality, so that the best ones come last.

Source: How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining, arXiv 2511.18903.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api import BenchError, Fixed, PartEntry, Source

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Task

ENTRY = PartEntry(
    kind="order",
    name="quality-ascending",
    load=f"{__name__}:QualityAscending",
    summary="sorts the pool by its `quality` score, worst first, over the planned horizon",
    space={"buckets": Fixed(10, limits=(1, 1000))},
    needs=frozenset({"scores", "pool", "horizon"}),
    sources=(
        Source(
            title="How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining",
            arxiv="2511.18903",
        ),
    ),
)


class QualityAscending:
    """Implements `harness.api.Order`: buckets of equal size by quality, each for an equal share of the plan.

    Within a bucket the order is random, and a new pass begins when it is used up: sorted strictly, a pool that is
    passed over several times would repeat every example at once. After the plan's end the best bucket stays.
    """

    def __init__(self, task: Task, buckets: int, horizon_fraction: float = 1.0) -> None:
        import torch

        if "quality" not in task.scores:
            known = ", ".join(sorted(task.scores)) or "none"
            raise BenchError(f"quality-ascending needs the score 'quality'; the scores here: {known}")
        assert task.horizon is not None, "this order needs the horizon"
        ranked = torch.argsort(task.scores["quality"], stable=True)
        self._buckets = torch.tensor_split(ranked, min(buckets, len(ranked)))
        self._planned = max(1.0, task.horizon * horizon_fraction)
        self._rng = task.rng
        self._bucket = -1
        self._order: Tensor = ranked[:0]
        self._position = 0

    def take(self, n: int, examples: int) -> Tensor:
        """The next `n` indices after `examples` drawn."""
        import torch

        bucket = min(int(examples / self._planned * len(self._buckets)), len(self._buckets) - 1)
        if bucket != self._bucket:
            self._bucket = bucket
            self._shuffle()
        parts: list[Tensor] = []
        while n > 0:
            if self._position == len(self._order):
                self._shuffle()
            part = self._order[self._position : self._position + n]
            self._position += len(part)
            n -= len(part)
            parts.append(part)
        return torch.cat(parts)

    def _shuffle(self) -> None:
        import torch

        members = self._buckets[self._bucket]
        self._order = members[torch.randperm(len(members), generator=self._rng)]
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"bucket": self._bucket, "order": self._order, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._bucket = state["bucket"]
        self._order = state["order"]
        self._position = state["position"]
