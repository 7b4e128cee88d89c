"""On several devices all ranks hold equal weights.

Forbidden: parameters or buffers that differ between ranks by more than 0.001 of their root mean square at a pause.

Why: every rank trains the same model. Where weights have drifted apart, the record would be of one rank's model and of
everybody's time.

Instead: take gradients from `work.backward`, or from `backward()` of what `work.loss` and `work.outputs` return: these
are averaged over ranks. Whatever else a step computes must be equal on every rank. A submission that needs
`torch.autograd.grad` declares the need `raw-grad` and runs on one device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule

#: Weights may differ between ranks by this share of their root mean square: rounding, where kernels are not
#: deterministic.
MAX_DRIFT = 1e-3


class EqualWeights(Rule):
    """Compares every rank's parameters and buffers with rank 0's at every pause."""

    collective = True

    @classmethod
    def applies_to(cls, spec: RunSpec) -> bool:
        return spec.ranks > 1

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        drift, tensor = find_largest_drift(model, group)
        reports = [text.decode().partition(" ") for text in group.all_gather_bytes(f"{drift!r} {tensor}".encode())]
        rank, (largest, _, tensor) = max(enumerate(reports), key=lambda report: float(report[1][0]))
        if float(largest) > MAX_DRIFT:
            raise RejectedError(
                f"{tensor} differs by {float(largest):.2g} of its size between rank 0 and rank {rank}",
                fix="take gradients from work.backward, or from backward() of what work.loss returned, so that a step "
                "computes the same on every rank; with autograd.grad, declare the need 'raw-grad'",
            )


def find_largest_drift(model: nn.Module, group: ProcessGroup) -> tuple[float, str]:
    """The largest relative difference between this rank's tensors and rank 0's, and the tensor's name."""
    drift, name = 0.0, ""
    with torch.no_grad():
        for key, value in (*model.named_parameters(), *model.named_buffers()):
            # Tensor by tensor, so that memory holds one more of them and not one more model.
            reference = group.broadcast_tensor(value.detach())
            difference = 0.0 if torch.equal(reference, value) else relative_difference(reference, value)
            if difference > drift:
                drift, name = difference, key
    return drift, name


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors as a share of the first one's root mean square."""
    a, b = a.double(), b.double()
    scale = float(a.square().mean().sqrt()) or 1.0
    difference = float((a - b).abs().max()) / scale
    if difference == difference:
        return difference
    # NaN on both sides is a divergence, which has a status of its own; on one side it is drift.
    return 0.0 if torch.equal(a.isnan(), b.isnan()) else float("inf")
