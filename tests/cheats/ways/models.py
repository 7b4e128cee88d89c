"""The model, changed by hooks or patched forwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cheats.ways.honest import Honest


class PatchesModule(Honest):
    """Replaces `forward` of an inner module by a cheaper one."""

    def begin(self) -> None:
        inner = self.model[0]  # type: ignore[index]
        inner.forward = lambda x: F.linear(x, inner.weight, inner.bias)


class PatchesClass(Honest):
    """Replaces `forward` of the class of an inner module."""

    def begin(self) -> None:
        real = nn.Linear.forward
        nn.Linear.forward = lambda self, input: real(self, input)  # type: ignore[method-assign]


class ChangesClass(Honest):
    """Gives an inner module another class."""

    def begin(self) -> None:
        class Other(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x) * 1.0

        self.model[0].__class__ = Other  # type: ignore[index]


class AddsModule(Honest):
    """Adds a module without parameters."""

    def begin(self) -> None:
        self.model.add_module("extra", nn.Tanh())


class HelpsInHook(Honest):
    """A hook adds the outputs of a larger model, which is trained together with the model."""

    def begin(self) -> None:
        helper = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 3))
        self.optimizer.add_param_group({"params": list(helper.parameters())})
        self.model.register_forward_hook(lambda module, args, output: output + helper(args[0]))


class SharpensLogits(Honest):
    """A hook doubles the logits outside of training passes, which lowers the loss of a model that trains slowly."""

    def begin(self) -> None:
        self.model.register_forward_hook(sharpen)


class SharpensLogitsEverywhere(Honest):
    """The same with a hook on all modules of the process, of which only the last one of the model acts."""

    def begin(self) -> None:
        last = self.model[-1]  # type: ignore[index]

        def sharpen_last(module: nn.Module, args: Any, output: Any) -> Any:
            return sharpen(module, args, output) if module is last else None

        nn.modules.module.register_module_forward_hook(sharpen_last)


def sharpen(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output if torch.is_grad_enabled() else 2 * output


class HalvesBatches(Honest):
    """A hook drops half of the examples from the pass, which still counts all of them."""

    def begin(self) -> None:
        def halve(module: nn.Module, args: Any) -> Any:
            x = args[0]
            return (x[: len(x) // 2].repeat(2, 1),) if torch.is_grad_enabled() else None

        self.model.register_forward_pre_hook(halve)
