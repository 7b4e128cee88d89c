"""The model's parameters, buffers and `forward` stay as the workload built them.

Forbidden: adding, removing or replacing a parameter or a buffer, changing its shape, dtype or device, and replacing
`forward`. The values are the submission's to change.

Why: a smaller model, or one in a lower precision, makes cheaper steps and solves another task than the one that the
target was set for.

Instead: declare `model_options` that the workload offers (dropout and the like). Keep averages and other tensors of
your own outside the model, in the submission.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule


class ModelArchitecture(Rule):
    """Compares names, shapes, dtypes, devices and the forward function at every pause."""

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._architecture = describe_architecture(model)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        now, before = describe_architecture(model), self._architecture
        if now != before:
            changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
            raise RejectedError(
                f"the model was changed outside model_options: {', '.join(changed[:5])}",
                fix="change values only; tensors of your own belong in the submission, not in the model",
            )


def describe_architecture(model: nn.Module) -> dict[str, Any]:
    """Shape, dtype and device of every tensor by name, and the function behind `forward`."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    description: dict[str, Any] = {name: (tuple(t.shape), t.dtype, t.device.type) for name, t in tensors.items()}
    description["forward"] = getattr(model.forward, "__func__", model.forward)
    return description
