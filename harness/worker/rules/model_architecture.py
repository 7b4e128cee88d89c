"""The model's modules, parameters, buffers and `forward` stay as the workload built them.

Forbidden: adding, removing or replacing a module, a parameter or a buffer; changing the shape, dtype or device of a
tensor; and replacing `forward` of a module or of its class. A submission may change the values, and may register hooks.

Why: a smaller model or a lower precision makes steps cheaper. The target was calibrated for the original model.

Instead: declare `model_options` that the workload offers, such as dropout. Store averages and other tensors in the
submission, not in the model.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule


class ModelArchitecture(Rule):
    """Compares names, shapes, dtypes, devices and the forward functions while the clock is stopped."""

    def before_construction(self, model: nn.Module, group: ProcessGroup) -> None:
        self._initial_architecture = describe_architecture(model)

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        current, initial = describe_architecture(model), self._initial_architecture
        if current != initial:
            changed = sorted(name for name in current.keys() | initial.keys() if current.get(name) != initial.get(name))
            raise RejectedError(
                f"the model was changed outside model_options: {', '.join(changed[:5])}",
                fix="change only the values of parameters and buffers, and store other tensors in the submission",
            )


def describe_architecture(model: nn.Module) -> dict[str, Any]:
    """Return shape, dtype and device of every parameter and buffer by name, and the code of every module."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    description: dict[str, Any] = {name: (tuple(t.shape), t.dtype, t.device.type) for name, t in tensors.items()}
    for name, module in model.named_modules():
        forward, prefix = getattr(module.forward, "__func__", module.forward), f"{name}." if name else ""
        description[f"{prefix}forward"] = (forward, getattr(forward, "__code__", None))
        description[f"{prefix}__call__"] = (type(module), type(module).__call__)
    return description
