"""Recomputes the running statistics of batch norm if the evaluation weights differ from the training weights.

Source: Averaging Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407, section 3.2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness.worker.data.batch import Batch
from harness.worker.protocols import Work

#: Number of training batches from which the statistics are recomputed. The number is small for two reasons: every batch
#: costs a forward pass, and there may be only a few updates between two evaluations.
BATCHES = 8


class BatchStatistics:
    """Keeps the last training batches, and recomputes running means and variances by forward passes over them.

    These forward passes count like all others. The batches are dropped after every evaluation. A checkpoint is written
    at an evaluation, so it need not contain the batches.

    Args:
        model: the run's model.
        norms: all batch-norm layers of the model that track running statistics.
    """

    def __init__(self, model: nn.Module, norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> None:
        self._model = model
        self._norms = norms
        self._recent_batches: deque[Batch] = deque(maxlen=BATCHES)
        self._work: Work | None = None
        self._recomputed_statistics: list[Tensor] = []

    @classmethod
    def from_model(cls, model: nn.Module) -> BatchStatistics | None:
        """Return an object for the model's batch-norm layers; None if no layer tracks running statistics."""
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
        return cls(model, norms) if norms else None

    def remember(self, batch: Batch, work: Work) -> None:
        """Store a reference to the current training batch. Called after every backward pass of an update."""
        self._recent_batches.append(batch)
        self._recomputed_statistics.clear()
        self._work = work

    @contextmanager
    def use_recomputed(self) -> Iterator[None]:
        """Within this context, the model's running statistics are recomputed for its current weights.

        They are computed from the last training batches. If there was no update since the previous evaluation, the
        statistics of that evaluation are used again.
        """
        if self._work is None or not (self._recent_batches or self._recomputed_statistics):
            yield
            return
        buffers = [b for norm in self._norms for b in norm.buffers(recurse=False)]
        previous_values = [b.clone() for b in buffers]
        if self._recomputed_statistics:
            _copy_into(self._recomputed_statistics, buffers)
        else:
            self._recompute(self._work)
            self._recent_batches.clear()
            self._recomputed_statistics = [b.clone() for b in buffers]
        try:
            yield
        finally:
            _copy_into(previous_values, buffers)

    def _recompute(self, work: Work) -> None:
        training_modules = [module for module in self._model.modules() if module.training]
        momenta = [norm.momentum for norm in self._norms]
        self._model.eval()  # turns off dropout, which would draw random numbers
        for norm in self._norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # all batches have equal weights in the mean
        with torch.no_grad():
            for batch in self._recent_batches:
                work.outputs(batch)
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
        for module in training_modules:
            module.training = True


@torch.no_grad()
def _copy_into(values: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
