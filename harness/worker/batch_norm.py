"""Batch norm's running statistics, recomputed for weights that are evaluated but were not trained with.

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

#: Batches that the statistics are taken over: more of them cost more, and evaluations may be a few updates apart.
BATCHES = 8


class BatchStatistics:
    """Keeps the last batches trained on, and recomputes running means and variances with counted forward passes.

    The batches are dropped after every evaluation, so that no checkpoint has to hold them: a run that resumes from an
    evaluation collects the next ones again.

    Args:
        model: the model that is evaluated.
        norms: its batch-norm layers, all of them with running statistics.
    """

    def __init__(self, model: nn.Module, norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> None:
        self._model = model
        self._norms = norms
        self._recent: deque[Batch] = deque(maxlen=BATCHES)
        self._work: Work | None = None
        self._recomputed: list[Tensor] = []

    @classmethod
    def of(cls, model: nn.Module) -> BatchStatistics | None:
        """The statistics of a model; None for a model without running statistics."""
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
        return cls(model, norms) if norms else None

    def remember(self, batch: Batch, work: Work) -> None:
        """Keep a reference to a batch just trained on."""
        self._recent.append(batch)
        self._recomputed.clear()
        self._work = work

    @contextmanager
    def refreshed(self) -> Iterator[None]:
        """While open, the statistics are those of the weights that the model holds now, over the last batches.

        Without an update since the last time, the statistics of that time are used again.
        """
        if self._work is None or not (self._recent or self._recomputed):
            yield
            return
        buffers = [b for norm in self._norms for b in norm.buffers(recurse=False)]
        before = [b.clone() for b in buffers]
        if self._recomputed:
            _copy_into(self._recomputed, buffers)
        else:
            self._recompute(self._work)
            self._recent.clear()
            self._recomputed = [b.clone() for b in buffers]
        try:
            yield
        finally:
            _copy_into(before, buffers)

    def _recompute(self, work: Work) -> None:
        training = [module for module in self._model.modules() if module.training]
        momenta = [norm.momentum for norm in self._norms]
        self._model.eval()  # dropout and the like are off, and draw no random numbers
        for norm in self._norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over the batches
        with torch.no_grad():
            for batch in self._recent:
                work.outputs(batch)
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
        for module in training:
            module.training = True


@torch.no_grad()
def _copy_into(values: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
