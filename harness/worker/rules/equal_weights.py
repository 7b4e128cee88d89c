"""On several devices, all ranks have equal weights.

Forbidden: parameters or buffers that differ between ranks by more than 0.001 of their root mean square while the clock
is stopped.

Why: every rank trains the same model. If weights differ between ranks, the metrics describe only the model of one rank.

Instead: compute gradients with `work.backward`, or call `backward()` on a loss from `work.loss` or `work.outputs`.
These gradients are averaged over ranks. Everything else that a step computes must be equal on all ranks. A submission
that needs `torch.autograd.grad` must declare the need `raw-grad`; it then runs on one device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule

#: Largest allowed difference between ranks, as a fraction of a tensor's root mean square. Kernels that are not
#: deterministic cause rounding differences.
MAX_DRIFT = 1e-3


class EqualWeights(Rule):
    """Compares every rank's parameters and buffers with rank 0's while the clock is stopped."""

    collective = True

    @classmethod
    def applies_to(cls, spec: RunSpec) -> bool:
        return spec.ranks > 1

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        drift, name = find_largest_drift(model, group)
        reports = [report.decode() for report in group.all_gather_bytes(f"{drift!r} {name}".encode())]
        drifts = [float(report.partition(" ")[0]) for report in reports]
        rank = drifts.index(max(drifts))
        if drifts[rank] > MAX_DRIFT:
            name = reports[rank].partition(" ")[2]
            raise RejectedError(
                f"{name} differs by {drifts[rank]:.2g} of its root mean square between rank 0 and rank {rank}",
                fix="compute gradients with work.backward, or with backward() from the result of work.loss, so that "
                "they are equal on all ranks; if the submission uses autograd.grad, declare the need 'raw-grad'",
            )


def find_largest_drift(model: nn.Module, group: ProcessGroup) -> tuple[float, str]:
    """Return the largest relative difference between this rank's tensors and those of rank 0, and the tensor's name."""
    drift, name = 0.0, ""
    with torch.no_grad():
        for key, value in (*model.named_parameters(), *model.named_buffers()):
            # The tensors are compared one at a time, to avoid a second copy of the model in memory.
            reference = group.broadcast_tensor(value.detach())
            difference = 0.0 if torch.equal(reference, value) else relative_difference(reference, value)
            if difference > drift:
                drift, name = difference, key
    return drift, name


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference of two tensors, divided by the root mean square of the first tensor."""
    a, b = a.double(), b.double()
    scale = float(a.square().mean().sqrt()) or 1.0
    difference = float((a - b).abs().max()) / scale
    if difference == difference:  # not NaN
        return difference
    # NaN in both tensors is a divergence, which the evaluation detects. NaN in only one of the tensors is a difference.
    return 0.0 if torch.equal(a.isnan(), b.isnan()) else float("inf")
