"""The measured values of a growing part of a split.

A part grows by windows: ranges of consecutive examples in the order in which the workload measures them. If a part does
not suffice for all decisions of an evaluation, the part is completed to the whole split. For this, the other examples
are measured as a last window. Then all values are sorted into the stored order of the split. No example is measured
twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.contract.workload import Shard
from harness.worker.baseline import Order
from harness.worker.data.evaluation_order import evaluation_rows


class MeasuredPart:
    """The measured tensors of a part, which begins at the first example of the first window.

    Attributes:
        size: number of examples of each task in the part.
    """

    def __init__(self) -> None:
        self.size = 0
        self._windows: list[Mapping[str, Tensor]] = []

    def add(self, window: Mapping[str, Tensor], size: int) -> None:
        """Add the tensors of the next window. The part then has `size` examples of each task."""
        self._windows.append(window)
        self.size = size

    def tensors(self) -> dict[str, Tensor]:
        """Return the concatenated tensors of all windows."""
        return {name: torch.cat([window[name] for window in self._windows]) for name in self._windows[0]}

    def complete(self, rest: Mapping[str, Tensor], examples: int, order: Order) -> dict[str, Tensor] | None:
        """Return the tensors of the whole split, in the stored order of the split.

        Args:
            rest: the tensors of the window from the end of this part to the end of the split.
            examples: number of examples of the split.
            order: the order of the examples in windows.

        Returns:
            The tensors; None if a tensor does not have one row for each example.
        """
        tensors = {name: torch.cat([part, rest[name]]) for name, part in self.tensors().items()}
        if any(len(tensor) != examples for tensor in tensors.values()):
            return None
        if order == "stored":
            return tensors
        position_of = torch.empty(examples, dtype=torch.int64)
        position_of[evaluation_rows(Shard(stop=examples), examples)] = torch.arange(examples)
        return {name: tensor[position_of.to(tensor.device)] for name, tensor in tensors.items()}
